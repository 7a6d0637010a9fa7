// Patterns of a subject, as topic exchanges have them: words between dots, where `*` is any one word and `#` any
// number of words, also none.

const ANY_WORD = "*";
const ANY_NUMBER = "#";

/** Tells whether a subject, cut into its words, is what a pattern asks for. */
export type WordsTest = (words: readonly string[]) => boolean;

/** The words of a subject. Two dots in a row have an empty word between them. */
export function wordsOf(subject: string): readonly string[] {
  return subject.split(".");
}

/** The first word of a pattern in which a wildcard is only a part of it: it would never mean what it seems to. */
export function partialWildcard(pattern: string): string | undefined {
  return wordsOf(pattern).find((word) => word.length > 1 && /[*#]/.test(word));
}

export function hasWildcard(pattern: string): boolean {
  return wordsOf(pattern).some((word) => word === ANY_WORD || word === ANY_NUMBER);
}

/**
 * Between two `#` stand words of a fixed number: each run of them is taken where it fits first, which leaves the most
 * for those that follow. So nothing is tried twice: words times words of the pattern at the most.
 */
export function subjectTest(pattern: string): WordsTest {
  const [head = [], ...rest] = runsOf(wordsOf(pattern));
  const tail = rest.pop();
  if (tail === undefined) return (words) => words.length === head.length && fits(head, words, 0);
  return (words) => {
    const end = words.length - tail.length;
    if (end < head.length || !fits(head, words, 0) || !fits(tail, words, end)) return false;
    let at = head.length;
    for (const run of rest) {
      while (at + run.length <= end && !fits(run, words, at)) at += 1;
      if (at + run.length > end) return false;
      at += run.length;
    }
    return true;
  };
}

/** The words between one `#` and the next. */
function runsOf(words: readonly string[]): string[][] {
  const runs: string[][] = [[]];
  for (const word of words) {
    if (word === ANY_NUMBER) runs.push([]);
    else runs.at(-1)?.push(word);
  }
  return runs;
}

function fits(run: readonly string[], words: readonly string[], at: number): boolean {
  return run.every((word, i) => word === ANY_WORD || word === words[at + i]);
}

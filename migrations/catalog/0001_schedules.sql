CREATE TABLE `schedules` (
	`name` text PRIMARY KEY NOT NULL,
	`generation` text NOT NULL,
	`version` integer NOT NULL,
	`topic` text NOT NULL,
	`topic_generation` text NOT NULL,
	`cron` text NOT NULL,
	`time_zone` text NOT NULL,
	`paused` integer NOT NULL,
	`paused_reason` text,
	`next_run_at` integer NOT NULL,
	`due_at` integer NOT NULL,
	`last_run_at` integer,
	`last_outcome` text,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	`packed` blob NOT NULL
);
--> statement-breakpoint
CREATE INDEX `schedules_due` ON `schedules` (`due_at`) WHERE paused = 0;
CREATE TABLE `snapshots` (
	`subscription` text NOT NULL,
	`name` text NOT NULL,
	`offsets` text NOT NULL,
	`created_at` integer NOT NULL,
	PRIMARY KEY(`subscription`, `name`),
	FOREIGN KEY (`subscription`) REFERENCES `subscriptions`(`generation`) ON UPDATE no action ON DELETE cascade
);

CREATE TABLE `stranded_batches` (
	`id` text PRIMARY KEY NOT NULL,
	`topic` text,
	`generation` text,
	`partition` integer,
	`reason` text NOT NULL,
	`message_count` integer NOT NULL,
	`bytes` integer NOT NULL,
	`stranded_at` integer NOT NULL,
	`packed` blob NOT NULL
);
--> statement-breakpoint
CREATE TABLE `subscriptions` (
	`generation` text PRIMARY KEY NOT NULL,
	`topic_generation` text NOT NULL,
	`topic` text NOT NULL,
	`partitions` integer NOT NULL,
	`name` text NOT NULL,
	`start_at` text NOT NULL,
	`settings` text NOT NULL,
	`version` integer NOT NULL,
	`configured_version` integer NOT NULL,
	`state` text NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	`tried_at` integer NOT NULL,
	FOREIGN KEY (`topic_generation`) REFERENCES `topics`(`generation`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX `subscriptions_by_name` ON `subscriptions` (`topic_generation`,`name`);--> statement-breakpoint
CREATE INDEX `subscriptions_unsettled` ON `subscriptions` (`tried_at`) WHERE state <> 'active' OR configured_version < version;--> statement-breakpoint
CREATE TABLE `sweep_cursor` (
	`id` integer PRIMARY KEY NOT NULL,
	`noun` text NOT NULL,
	`generation` text NOT NULL,
	`partition` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `tokens` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`hash` text NOT NULL,
	`scopes` text NOT NULL,
	`created_at` integer NOT NULL,
	`expires_at` integer,
	`last_used_at` integer
);
--> statement-breakpoint
CREATE UNIQUE INDEX `tokens_by_hash` ON `tokens` (`hash`);--> statement-breakpoint
CREATE TABLE `topics` (
	`generation` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`kind` text NOT NULL,
	`partitions` integer NOT NULL,
	`settings` text NOT NULL,
	`version` integer NOT NULL,
	`configured_version` integer NOT NULL,
	`state` text NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	`tried_at` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `topics_by_name` ON `topics` (`name`);--> statement-breakpoint
CREATE INDEX `topics_unsettled` ON `topics` (`tried_at`) WHERE state <> 'active' OR configured_version < version;
CREATE TABLE `audit_log` (
	`number` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`at` integer NOT NULL,
	`actor` text NOT NULL,
	`actor_name` text NOT NULL,
	`action` text NOT NULL,
	`resource` text NOT NULL,
	`request_id` text NOT NULL,
	`outcome` text NOT NULL,
	`details` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `audit_log_by_resource` ON `audit_log` (`resource`);--> statement-breakpoint
CREATE INDEX `audit_log_by_actor` ON `audit_log` (`actor`);--> statement-breakpoint
CREATE INDEX `audit_log_by_time` ON `audit_log` (`at`);--> statement-breakpoint
ALTER TABLE `tokens` ADD `previous_hash` text;--> statement-breakpoint
ALTER TABLE `tokens` ADD `previous_until` integer;--> statement-breakpoint
CREATE INDEX `tokens_by_previous_hash` ON `tokens` (`previous_hash`) WHERE previous_hash IS NOT NULL;--> statement-breakpoint
CREATE INDEX `tokens_by_expiry` ON `tokens` (`expires_at`) WHERE expires_at IS NOT NULL;
ALTER TABLE `subscriptions` ADD `raising_to` integer;--> statement-breakpoint
ALTER TABLE `topics` ADD `raising_to` integer;
-- Whether an alarm was raised before the end of its window, because no end could have been normal any more.
ALTER TABLE violation ADD COLUMN is_eager BOOLEAN NOT NULL DEFAULT FALSE;

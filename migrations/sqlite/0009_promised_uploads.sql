-- What an upload is joined of, as a JSON list of ids in order, once its creator was told that it will be: whoever finds
-- nobody at it goes on with it.

ALTER TABLE uploads ADD COLUMN partials TEXT;

-- What a partial upload was joined into, for whoever asks for the same once more.
ALTER TABLE uploads ADD COLUMN used_by TEXT;

-- The condition stands in the statement as it stands here.
CREATE INDEX uploads_promised ON uploads (touched_at) WHERE partials IS NOT NULL AND state IN ('open', 'completing');

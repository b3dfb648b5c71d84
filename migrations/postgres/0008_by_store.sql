-- What is left in a store is found and counted without its other rows: those of a store that everything was moved away
-- from stay for a day.

CREATE INDEX file_versions_stored ON file_versions (store_id, bucket, key, size) WHERE state = 'stored';
CREATE INDEX file_versions_pending_in ON file_versions (store_id) WHERE state = 'pending';

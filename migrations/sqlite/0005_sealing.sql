-- Which bodies are sealed under which master key.
--
-- A wrapped key begins with its form (one byte) and the id of its master key (eight). The conditions stand in the
-- statements as they stand here.

CREATE INDEX file_versions_sealed ON file_versions (substr(wrapped_key, 1, 9), version_id) WHERE wrapped_key IS NOT NULL;

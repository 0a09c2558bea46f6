-- People get numbers of their own, so that Discord's id of somebody is one cell that can be emptied.
-- What is drawn, by whom, from what and where it is shown each get a table. Names that code knows
-- (states, kinds, scopes) stand in tables instead of CHECK lists: a new one is a row then, where a
-- changed CHECK would copy the whole table.
--
-- Needs the SQL function letters_of(text), which `storage.schema` provides.
BEGIN IMMEDIATE;

DROP TRIGGER jobs_index_new;
DROP TRIGGER jobs_index_changed;
DROP TRIGGER jobs_index_gone;
DROP TABLE prompts;
DROP TRIGGER consents_no_update;
DROP TRIGGER consents_no_delete;
DROP TRIGGER consents_no_replace;
DROP TRIGGER moderation_actions_no_update;
DROP TRIGGER moderation_actions_no_delete;
DROP TRIGGER moderation_actions_no_replace;
DROP INDEX consents_of_member;
DROP INDEX jobs_of_member;
DROP INDEX jobs_in_state;
DROP INDEX jobs_by_message;
DROP INDEX jobs_by_time;
DROP INDEX jobs_by_source;
DROP INDEX images_by_file;
DROP INDEX lineage_of_image;
DROP INDEX reports_open;
DROP INDEX reports_open_in_guild;
DROP INDEX moderation_actions_of_job;
DROP INDEX moderation_actions_of_member;

ALTER TABLE people RENAME TO old_people;
ALTER TABLE consents RENAME TO old_consents;
ALTER TABLE jobs RENAME TO old_jobs;
ALTER TABLE images RENAME TO old_images;
ALTER TABLE lineage RENAME TO old_lineage;
ALTER TABLE votes RENAME TO old_votes;
ALTER TABLE reports RENAME TO old_reports;
ALTER TABLE moderation_actions RENAME TO old_moderation_actions;
ALTER TABLE presets RENAME TO old_presets;

-- Names

CREATE TABLE job_states (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO job_states VALUES ('held'), ('queued'), ('running'), ('rendered'), ('posted'),
  ('failed'), ('cancelled'), ('refused');
CREATE TABLE attempt_outcomes (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO attempt_outcomes VALUES ('rendered'), ('failed'), ('cancelled'), ('stopped'), ('died'),
  ('lost');
CREATE TABLE input_roles (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO input_roles VALUES ('start'), ('mask'), ('style'), ('part'), ('reference');
CREATE TABLE file_kinds (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO file_kinds VALUES ('drawn'), ('upload');
CREATE TABLE message_kinds (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO message_kinds VALUES ('job'), ('log'), ('direct');
CREATE TABLE message_states (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO message_states VALUES ('open'), ('gone'), ('undeliverable');
CREATE TABLE consent_scopes (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO consent_scopes VALUES ('gallery'), ('remix'), ('training');
CREATE TABLE action_kinds (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO action_kinds VALUES ('take_down'), ('restore'), ('suspend'), ('lift'), ('cancel'),
  ('delete'), ('report_closed');

-- People and what they allow

CREATE TABLE people (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  discord_id INTEGER UNIQUE  -- NULL once they were forgotten
) STRICT;
-- Discord's ids grow with time: numbers in their order would still tell about when somebody
-- registered after the id itself is gone.
INSERT INTO people (discord_id) SELECT id FROM old_people ORDER BY random();

CREATE TABLE consents (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  person_id INTEGER NOT NULL REFERENCES people (id),
  scope TEXT NOT NULL REFERENCES consent_scopes (name),
  given INTEGER NOT NULL CHECK (given IN (0, 1)),
  text_version TEXT NOT NULL,
  text_sha256 TEXT NOT NULL CHECK (length(text_sha256) = 64),
  given_at TEXT NOT NULL,
  interaction_id INTEGER NOT NULL
) STRICT;
INSERT INTO consents
SELECT old.id, people.id, scope, given, text_version, text_sha256, given_at, interaction_id
FROM old_consents AS old JOIN people ON people.discord_id = old.member_id;
CREATE INDEX consents_of_person ON consents (person_id, scope, given_at);
CREATE INDEX consents_on_scope ON consents (scope, person_id);

CREATE TABLE presets (
  person_id INTEGER NOT NULL REFERENCES people (id),
  name TEXT NOT NULL,
  settings TEXT NOT NULL CHECK (json_valid(settings)),
  PRIMARY KEY (person_id, name)
) STRICT, WITHOUT ROWID;
INSERT INTO presets
SELECT people.id, name, settings
FROM old_presets AS old JOIN people ON people.discord_id = old.member_id;

-- Jobs and what they are drawn from

CREATE TABLE jobs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,  -- a number that people saw is never given again
  submission INTEGER NOT NULL REFERENCES jobs (id),  -- the first job of the same command
  person_id INTEGER NOT NULL REFERENCES people (id),
  guild_id INTEGER REFERENCES servers (id),
  typed TEXT NOT NULL,
  prompt TEXT NOT NULL,
  negative_prompt TEXT NOT NULL,
  letters TEXT,  -- words of scripts without spaces, letter by letter; see `storage.search`
  request TEXT NOT NULL CHECK (json_valid(request)),
  notes TEXT NOT NULL CHECK (json_valid(notes)),
  state TEXT NOT NULL REFERENCES job_states (name),
  cost_s REAL NOT NULL CHECK (cost_s >= 0),
  reason TEXT,
  fingerprint TEXT,
  elapsed_s REAL,
  created_at TEXT NOT NULL,
  started_at TEXT,
  finished_at TEXT,
  cancel_wanted_at TEXT,
  cancel_wanted_by INTEGER REFERENCES people (id),
  -- What the full-text index holds. The typed text usually contains the prompt already.
  words TEXT GENERATED ALWAYS AS (
    typed || CASE WHEN instr(typed, prompt) THEN '' ELSE ' ' || prompt END
    || ' ' || negative_prompt || coalesce(' ' || letters, '')) VIRTUAL,
  facets TEXT GENERATED ALWAYS AS (
    's' || state || ' m' || person_id || coalesce(' g' || guild_id, '')) VIRTUAL
) STRICT;
INSERT INTO jobs (
  id, submission, person_id, guild_id, typed, prompt, negative_prompt, letters, request, notes,
  state, cost_s, reason, fingerprint, elapsed_s, created_at, started_at, finished_at)
SELECT
  old.id, old.id, people.id, guild_id, typed, prompt, negative_prompt,
  letters_of(typed || ' ' || prompt || ' ' || negative_prompt), request, notes,
  state, cost_s, reason, fingerprint, elapsed_s, created_at, started_at, finished_at
FROM old_jobs AS old JOIN people ON people.discord_id = old.member_id ORDER BY old.id;
CREATE INDEX jobs_of_person ON jobs (person_id, state);
CREATE INDEX jobs_of_submission ON jobs (submission);
CREATE INDEX jobs_in_state ON jobs (state);
CREATE INDEX jobs_by_time ON jobs (created_at);

CREATE TABLE images (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  job_id INTEGER NOT NULL REFERENCES jobs (id),
  position INTEGER NOT NULL CHECK (position >= 0),
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64),  -- of the file
  pixels_sha256 TEXT CHECK (length(pixels_sha256) = 64),  -- of what it shows; NULL before 0002
  seed INTEGER NOT NULL,
  width INTEGER NOT NULL,
  height INTEGER NOT NULL,
  removed_at TEXT,
  taken_down_at TEXT,
  UNIQUE (job_id, position)
) STRICT;
INSERT INTO images (
  id, job_id, position, sha256, seed, width, height, removed_at, taken_down_at)
SELECT id, job_id, position, sha256, seed, width, height, removed_at, taken_down_at
FROM old_images;
CREATE INDEX images_by_file ON images (sha256);

CREATE TABLE job_inputs (
  job_id INTEGER NOT NULL REFERENCES jobs (id),
  position INTEGER NOT NULL CHECK (position >= 0),
  role TEXT NOT NULL REFERENCES input_roles (name),
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
  image_id INTEGER REFERENCES images (id),  -- the picture it is, or NULL for an upload
  weight REAL NOT NULL DEFAULT 1.0,
  PRIMARY KEY (job_id, position)
) STRICT, WITHOUT ROWID;
INSERT INTO job_inputs (job_id, position, role, sha256, image_id)
SELECT old.id, 0, 'start', old.source_sha256, parents.id
FROM old_jobs AS old
  LEFT JOIN old_lineage AS lineage ON lineage.job_id = old.id
  LEFT JOIN images AS parents
    ON parents.id = lineage.image_id AND parents.sha256 = old.source_sha256
WHERE old.source_sha256 IS NOT NULL;
-- A parent that is not what the job starts from.
INSERT INTO job_inputs (job_id, position, role, sha256, image_id)
SELECT old.id, old.source_sha256 IS NOT NULL, 'reference', parents.sha256, parents.id
FROM old_lineage AS lineage
  JOIN old_jobs AS old ON old.id = lineage.job_id
  JOIN images AS parents ON parents.id = lineage.image_id
WHERE old.source_sha256 IS NOT parents.sha256;
CREATE INDEX job_inputs_of_file ON job_inputs (sha256);
CREATE INDEX job_inputs_of_image ON job_inputs (image_id) WHERE image_id IS NOT NULL;

CREATE TABLE files (
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
  person_id INTEGER NOT NULL REFERENCES people (id),  -- one who drew or uploaded it
  kind TEXT NOT NULL REFERENCES file_kinds (name),
  written_at TEXT NOT NULL,
  held_until TEXT,  -- not swept before, for what names it is still to be recorded
  gone_at TEXT,  -- when it was unlinked; NULL while it is there
  PRIMARY KEY (sha256, person_id)
) STRICT, WITHOUT ROWID;
INSERT INTO files (sha256, person_id, kind, written_at)
SELECT images.sha256, jobs.person_id, 'drawn', min(coalesce(jobs.finished_at, jobs.created_at))
FROM images JOIN jobs ON jobs.id = images.job_id GROUP BY images.sha256, jobs.person_id;
-- An upload is of whoever used it first; others only pressed Again.
INSERT INTO files (sha256, person_id, kind, written_at)
SELECT job_inputs.sha256, jobs.person_id, 'upload', jobs.created_at
FROM job_inputs JOIN jobs ON jobs.id = job_inputs.job_id
WHERE job_inputs.image_id IS NULL AND jobs.id = (
  SELECT min(firsts.job_id) FROM job_inputs AS firsts
  WHERE firsts.sha256 = job_inputs.sha256 AND firsts.image_id IS NULL)
ON CONFLICT DO NOTHING;
-- A file whose pictures all were removed, and that nothing starts from, was unlinked then.
UPDATE files SET gone_at = (
  SELECT max(images.removed_at) FROM images
  WHERE images.sha256 = files.sha256 HAVING count(*) = count(images.removed_at))
WHERE NOT EXISTS (SELECT 1 FROM job_inputs WHERE job_inputs.sha256 = files.sha256);
CREATE INDEX files_of_person ON files (person_id);

CREATE TABLE attempts (
  job_id INTEGER NOT NULL REFERENCES jobs (id),
  number INTEGER NOT NULL CHECK (number >= 1),
  worker TEXT NOT NULL,
  began_at TEXT NOT NULL,
  lease_until TEXT NOT NULL,
  ended_at TEXT,
  outcome TEXT REFERENCES attempt_outcomes (name),  -- NULL while it goes on
  PRIMARY KEY (job_id, number)
) STRICT, WITHOUT ROWID;
WITH RECURSIVE numbers (n) AS (
  SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < (SELECT max(attempts) FROM old_jobs)
)
INSERT INTO attempts (job_id, number, worker, began_at, lease_until, ended_at, outcome)
SELECT
  id, n, 'unknown', coalesce(started_at, created_at), coalesce(started_at, created_at),
  CASE WHEN n < attempts OR state <> 'running'
    THEN coalesce(finished_at, started_at, created_at) END,
  CASE
    WHEN n < attempts THEN 'died'
    WHEN state = 'running' THEN NULL
    WHEN state IN ('rendered', 'posted') THEN 'rendered'
    WHEN state IN ('failed', 'cancelled') THEN state
    ELSE 'died'
  END
FROM old_jobs JOIN numbers ON n <= attempts;
CREATE UNIQUE INDEX attempts_open ON attempts (job_id) WHERE outcome IS NULL;
CREATE INDEX attempts_of_worker ON attempts (worker) WHERE outcome IS NULL;

-- What stands in Discord, and what should

CREATE TABLE messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL REFERENCES message_kinds (name),
  job_id INTEGER REFERENCES jobs (id),
  guild_id INTEGER REFERENCES servers (id),
  channel_id INTEGER,  -- NULL for a direct message
  message_id INTEGER,  -- NULL until it was sent
  recipient_id INTEGER REFERENCES people (id),
  about TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(about)),  -- ids to draw it from
  wanted INTEGER NOT NULL DEFAULT 0,  -- grows with each change that people should see
  shown INTEGER NOT NULL DEFAULT 0,  -- the value of `wanted` that stands there
  state TEXT NOT NULL DEFAULT 'open' REFERENCES message_states (name),
  reason TEXT,
  nonce TEXT NOT NULL,
  sent_after INTEGER,  -- a snowflake: Discord's clock when it was asked for
  tries INTEGER NOT NULL DEFAULT 0,
  tried_at TEXT,
  next_try_at TEXT NOT NULL,
  created_at TEXT NOT NULL,
  CHECK (kind <> 'job' OR (job_id IS NOT NULL AND channel_id IS NOT NULL)),
  CHECK (kind <> 'log' OR channel_id IS NOT NULL),
  CHECK (kind <> 'direct' OR recipient_id IS NOT NULL)
) STRICT;
-- Jobs of the terminal (channel 0) have no message. A message under way is drawn again, and so is
-- one whose pictures were removed or taken down: earlier versions could leave them standing. The
-- others that were ever sent stand as they should.
INSERT INTO messages (
  kind, job_id, guild_id, channel_id, message_id, wanted, shown, state, reason, nonce, next_try_at,
  created_at)
SELECT
  'job', id, guild_id, channel_id, message_id, is_under_way OR message_id IS NOT NULL,
  message_id IS NOT NULL AND NOT is_under_way AND NOT EXISTS (
    SELECT 1 FROM images
    WHERE images.job_id = old.id AND (removed_at IS NOT NULL OR taken_down_at IS NOT NULL)),
  CASE WHEN reason LIKE 'delivered to nobody%' THEN 'undeliverable' ELSE 'open' END,
  CASE WHEN reason LIKE 'delivered to nobody%' THEN reason END,
  'atelier-' || id, created_at, created_at
FROM (
  SELECT *, state IN ('queued', 'running', 'rendered') AS is_under_way
  FROM old_jobs WHERE channel_id <> 0) AS old
ORDER BY id;
CREATE UNIQUE INDEX messages_of_job ON messages (job_id) WHERE kind = 'job';
CREATE INDEX messages_due ON messages (next_try_at) WHERE wanted > shown AND state = 'open';
CREATE INDEX messages_told ON messages (guild_id) WHERE kind = 'log';
CREATE INDEX messages_by_message ON messages (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX messages_to_person ON messages (recipient_id) WHERE recipient_id IS NOT NULL;

-- What people did about pictures

CREATE TABLE votes (
  image_id INTEGER NOT NULL REFERENCES images (id),
  person_id INTEGER NOT NULL REFERENCES people (id),
  voted_at TEXT NOT NULL,
  PRIMARY KEY (image_id, person_id)
) STRICT, WITHOUT ROWID;
INSERT INTO votes
SELECT image_id, people.id, voted_at
FROM old_votes AS old JOIN people ON people.discord_id = old.member_id;
CREATE INDEX votes_of_person ON votes (person_id);

CREATE TABLE reports (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  guild_id INTEGER REFERENCES servers (id),
  job_id INTEGER NOT NULL REFERENCES jobs (id),
  reporter_id INTEGER NOT NULL REFERENCES people (id),
  reason TEXT NOT NULL,
  reported_at TEXT NOT NULL,
  closed_at TEXT
) STRICT;
INSERT INTO reports
SELECT old.id, guild_id, job_id, people.id, reason, reported_at, closed_at
FROM old_reports AS old JOIN people ON people.discord_id = old.reporter_id;
CREATE UNIQUE INDEX reports_open ON reports (job_id, reporter_id) WHERE closed_at IS NULL;
CREATE INDEX reports_open_in_guild ON reports (guild_id) WHERE closed_at IS NULL;
CREATE INDEX reports_of_person ON reports (reporter_id);

CREATE TABLE moderation_actions (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL REFERENCES action_kinds (name),
  guild_id INTEGER REFERENCES servers (id),
  moderator_id INTEGER NOT NULL REFERENCES people (id),
  person_id INTEGER REFERENCES people (id),  -- to whom
  job_id INTEGER REFERENCES jobs (id),
  image_id INTEGER REFERENCES images (id),
  reason TEXT NOT NULL,
  at TEXT NOT NULL
) STRICT;
INSERT INTO moderation_actions
SELECT old.id, kind, guild_id, moderators.id, people.id, job_id, image_id, reason, at
FROM old_moderation_actions AS old
  JOIN people AS moderators ON moderators.discord_id = old.moderator_id
  LEFT JOIN people ON people.discord_id = old.member_id;
CREATE INDEX moderation_actions_of_job ON moderation_actions (job_id);
CREATE INDEX moderation_actions_in_guild ON moderation_actions (guild_id, person_id);
CREATE INDEX moderation_actions_of_person ON moderation_actions (person_id);
CREATE INDEX moderation_actions_by_person ON moderation_actions (moderator_id);

-- A number that was given is never given again, also not one of a row that is gone.
UPDATE sqlite_sequence SET seq = max(seq, coalesce((
  SELECT old.seq FROM sqlite_sequence AS old WHERE old.name = 'old_' || sqlite_sequence.name), 0));
INSERT INTO sqlite_sequence (name, seq)
SELECT substr(old.name, 5), old.seq FROM sqlite_sequence AS old
WHERE old.name LIKE 'old\_%' ESCAPE '\' AND NOT EXISTS (
  SELECT 1 FROM sqlite_sequence AS new WHERE new.name = substr(old.name, 5));

-- A row that points at nothing would have been left out above. Rather nothing than that.
CREATE TEMP TABLE laws (every_row_came_along INTEGER NOT NULL CHECK (every_row_came_along));
INSERT INTO laws VALUES
  ((SELECT count(*) FROM people) = (SELECT count(*) FROM old_people)),
  ((SELECT count(*) FROM consents) = (SELECT count(*) FROM old_consents)),
  ((SELECT count(*) FROM presets) = (SELECT count(*) FROM old_presets)),
  ((SELECT count(*) FROM jobs) = (SELECT count(*) FROM old_jobs)),
  ((SELECT count(*) FROM images) = (SELECT count(*) FROM old_images)),
  ((SELECT count(*) FROM votes) = (SELECT count(*) FROM old_votes)),
  ((SELECT count(*) FROM reports) = (SELECT count(*) FROM old_reports)),
  ((SELECT count(*) FROM moderation_actions) = (SELECT count(*) FROM old_moderation_actions)),
  ((SELECT count(*) FROM job_inputs WHERE image_id IS NOT NULL)
    = (SELECT count(*) FROM old_lineage));

DROP TABLE old_lineage;
DROP TABLE old_votes;
DROP TABLE old_reports;
DROP TABLE old_moderation_actions;
DROP TABLE old_presets;
DROP TABLE old_consents;
DROP TABLE old_images;
DROP TABLE old_jobs;
DROP TABLE old_people;
INSERT INTO laws SELECT count(*) = 0 FROM pragma_foreign_key_check;
DROP TABLE laws;

-- Server, person and state are indexed as words of their own column. An intersection of posting
-- lists, newest first, then answers every combination of filters without visiting other rows.
-- The text itself stays in `jobs` (external content). `columnsize` would only serve ranking.
-- A beginning of up to eight letters has posting lists of its own; without them FTS5 would merge
-- those of every word that begins so, 15 ms for half a million. They cost no measurable time.
CREATE VIRTUAL TABLE prompts USING fts5 (
  words, facets, content='jobs', content_rowid='id', columnsize=0, prefix='1 2 3 4 5 6 7 8',
  tokenize="unicode61 remove_diacritics 2"
);
INSERT INTO prompts (prompts) VALUES ('rebuild');

CREATE TRIGGER jobs_index_new AFTER INSERT ON jobs BEGIN
  INSERT INTO prompts (rowid, words, facets) VALUES (NEW.id, NEW.words, NEW.facets);
END;
CREATE TRIGGER jobs_index_changed AFTER UPDATE ON jobs
WHEN OLD.words IS NOT NEW.words OR OLD.facets IS NOT NEW.facets BEGIN
  INSERT INTO prompts (prompts, rowid, words, facets)
  VALUES ('delete', OLD.id, OLD.words, OLD.facets);
  INSERT INTO prompts (rowid, words, facets) VALUES (NEW.id, NEW.words, NEW.facets);
END;
CREATE TRIGGER jobs_index_gone AFTER DELETE ON jobs BEGIN
  INSERT INTO prompts (prompts, rowid, words, facets)
  VALUES ('delete', OLD.id, OLD.words, OLD.facets);
END;

-- History is only ever added to. The insert triggers stop INSERT OR REPLACE, which deletes the
-- older row without firing delete triggers. Who it is about is forgotten in `people`.
CREATE TRIGGER consents_no_update BEFORE UPDATE ON consents BEGIN
  SELECT RAISE(ABORT, 'consents are append-only');
END;
CREATE TRIGGER consents_no_delete BEFORE DELETE ON consents BEGIN
  SELECT RAISE(ABORT, 'consents are append-only');
END;
CREATE TRIGGER consents_no_replace BEFORE INSERT ON consents
WHEN EXISTS (SELECT 1 FROM consents WHERE id = NEW.id) BEGIN
  SELECT RAISE(ABORT, 'consents are append-only');
END;
CREATE TRIGGER moderation_actions_no_update BEFORE UPDATE ON moderation_actions BEGIN
  SELECT RAISE(ABORT, 'moderation actions are append-only');
END;
CREATE TRIGGER moderation_actions_no_delete BEFORE DELETE ON moderation_actions BEGIN
  SELECT RAISE(ABORT, 'moderation actions are append-only');
END;
CREATE TRIGGER moderation_actions_no_replace BEFORE INSERT ON moderation_actions
WHEN EXISTS (SELECT 1 FROM moderation_actions WHERE id = NEW.id) BEGIN
  SELECT RAISE(ABORT, 'moderation actions are append-only');
END;

PRAGMA user_version = 2;
COMMIT;

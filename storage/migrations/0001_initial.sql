-- Times are ISO 8601 in UTC with microseconds, so that they sort as text.
-- Everything between BEGIN and COMMIT happens or nothing does, the version included.
BEGIN IMMEDIATE;

CREATE TABLE people (
  id INTEGER PRIMARY KEY  -- Discord's user id
) STRICT;

CREATE TABLE servers (
  id INTEGER PRIMARY KEY,  -- Discord's guild id
  settings TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(settings))
) STRICT;

CREATE TABLE consents (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  member_id INTEGER NOT NULL REFERENCES people (id),
  scope TEXT NOT NULL CHECK (scope IN ('gallery', 'remix', 'training')),
  given INTEGER NOT NULL CHECK (given IN (0, 1)),
  text_version TEXT NOT NULL,
  text_sha256 TEXT NOT NULL CHECK (length(text_sha256) = 64),
  given_at TEXT NOT NULL,
  interaction_id INTEGER NOT NULL
) STRICT;
CREATE INDEX consents_of_member ON consents (member_id);

CREATE TABLE jobs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,  -- a number that people saw is never given again
  member_id INTEGER NOT NULL REFERENCES people (id),
  guild_id INTEGER REFERENCES servers (id),
  channel_id INTEGER NOT NULL,
  message_id INTEGER,
  typed TEXT NOT NULL,
  prompt TEXT NOT NULL,
  negative_prompt TEXT NOT NULL,
  request TEXT NOT NULL CHECK (json_valid(request)),
  notes TEXT NOT NULL CHECK (json_valid(notes)),
  source_sha256 TEXT,  -- the picture that an image-to-image request starts from
  state TEXT NOT NULL CHECK (state IN (
    'held', 'queued', 'running', 'rendered', 'posted', 'failed', 'cancelled', 'refused')),
  cost_s REAL NOT NULL CHECK (cost_s >= 0),
  attempts INTEGER NOT NULL DEFAULT 0,
  reason TEXT,
  fingerprint TEXT,
  elapsed_s REAL,
  created_at TEXT NOT NULL,
  started_at TEXT,
  finished_at TEXT,
  -- What the full-text index holds. The typed text usually contains the prompt already.
  words TEXT GENERATED ALWAYS AS (
    typed || CASE WHEN instr(typed, prompt) THEN '' ELSE ' ' || prompt END
    || ' ' || negative_prompt) VIRTUAL,
  facets TEXT GENERATED ALWAYS AS (
    's' || state || ' m' || member_id || coalesce(' g' || guild_id, '')) VIRTUAL
) STRICT;
CREATE INDEX jobs_of_member ON jobs (member_id, state);
CREATE INDEX jobs_in_state ON jobs (state);
CREATE INDEX jobs_by_message ON jobs (message_id);
CREATE INDEX jobs_by_time ON jobs (created_at);
CREATE INDEX jobs_by_source ON jobs (source_sha256) WHERE source_sha256 IS NOT NULL;

-- Server, member and state are indexed as words of their own column. An intersection of posting
-- lists, newest first, then answers every combination of filters without visiting other rows.
-- The text itself stays in `jobs` (external content). `columnsize` would only serve ranking.
-- A beginning of up to eight letters has posting lists of its own; without them FTS5 would merge
-- those of every word that begins so, 15 ms for half a million. They cost no measurable time.
CREATE VIRTUAL TABLE prompts USING fts5 (
  words, facets, content='jobs', content_rowid='id', columnsize=0, prefix='1 2 3 4 5 6 7 8',
  tokenize="unicode61 remove_diacritics 2"
);

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

CREATE TABLE images (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  job_id INTEGER NOT NULL REFERENCES jobs (id),
  position INTEGER NOT NULL CHECK (position >= 0),
  sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
  seed INTEGER NOT NULL,
  width INTEGER NOT NULL,
  height INTEGER NOT NULL,
  removed_at TEXT,
  taken_down_at TEXT,
  UNIQUE (job_id, position)
) STRICT;
CREATE INDEX images_by_file ON images (sha256);

CREATE TABLE lineage (
  job_id INTEGER PRIMARY KEY REFERENCES jobs (id),
  image_id INTEGER NOT NULL REFERENCES images (id)  -- the parent
) STRICT;
CREATE INDEX lineage_of_image ON lineage (image_id);

CREATE TABLE votes (
  image_id INTEGER NOT NULL REFERENCES images (id),
  member_id INTEGER NOT NULL REFERENCES people (id),
  voted_at TEXT NOT NULL,
  PRIMARY KEY (image_id, member_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE reports (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  guild_id INTEGER REFERENCES servers (id),
  job_id INTEGER NOT NULL REFERENCES jobs (id),
  reporter_id INTEGER NOT NULL REFERENCES people (id),
  reason TEXT NOT NULL,
  reported_at TEXT NOT NULL,
  closed_at TEXT
) STRICT;
CREATE UNIQUE INDEX reports_open ON reports (job_id, reporter_id) WHERE closed_at IS NULL;
CREATE INDEX reports_open_in_guild ON reports (guild_id) WHERE closed_at IS NULL;

CREATE TABLE moderation_actions (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL CHECK (kind IN (
    'take_down', 'restore', 'suspend', 'lift', 'cancel', 'delete', 'report_closed')),
  guild_id INTEGER REFERENCES servers (id),
  moderator_id INTEGER NOT NULL REFERENCES people (id),
  member_id INTEGER REFERENCES people (id),
  job_id INTEGER REFERENCES jobs (id),
  image_id INTEGER REFERENCES images (id),
  reason TEXT NOT NULL,
  at TEXT NOT NULL
) STRICT;
CREATE INDEX moderation_actions_of_job ON moderation_actions (job_id);
CREATE INDEX moderation_actions_of_member ON moderation_actions (guild_id, member_id);

CREATE TABLE presets (
  member_id INTEGER NOT NULL REFERENCES people (id),
  name TEXT NOT NULL,
  settings TEXT NOT NULL CHECK (json_valid(settings)),
  PRIMARY KEY (member_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE costs (
  key TEXT PRIMARY KEY,  -- model/WxH/steps
  seconds REAL NOT NULL CHECK (seconds > 0)
) STRICT, WITHOUT ROWID;

-- History is only ever added to. The insert triggers stop INSERT OR REPLACE, which deletes the
-- older row without firing delete triggers.
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

PRAGMA user_version = 1;
COMMIT;

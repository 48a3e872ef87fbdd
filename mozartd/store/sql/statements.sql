-- name: put_job
-- A job's row, new or changed.
INSERT INTO jobs (seq, id, name, state, reason, wanted, score_path, workspace, priority, group_name, submitted_at,
                  started_at, ended_at, not_before, after_job, place, counts, cost_usd, tokens, policy,
                  ran_seconds, ran_since)
VALUES (:seq, :id, :name, :state, :reason, :wanted, :score_path, :workspace, :priority, :group_name, :submitted_at,
        :started_at, :ended_at, :not_before, :after_job, :place, :counts, :cost_usd, :tokens, :policy,
        :ran_seconds, :ran_since)
ON CONFLICT (seq) DO UPDATE SET
    state = excluded.state, reason = excluded.reason, wanted = excluded.wanted, priority = excluded.priority,
    group_name = excluded.group_name, started_at = excluded.started_at, ended_at = excluded.ended_at,
    not_before = excluded.not_before, after_job = excluded.after_job, place = excluded.place, name = excluded.name,
    score_path = excluded.score_path, workspace = excluded.workspace, counts = excluded.counts, cost_usd = excluded.cost_usd,
    tokens = excluded.tokens, policy = excluded.policy, ran_seconds = excluded.ran_seconds, ran_since = excluded.ran_since;

-- name: put_score
-- What a job was submitted with.
INSERT INTO scores (seq, score, source, environment) VALUES (:seq, :score, :source, :environment);

-- name: replace_score
-- A job's new score.
UPDATE scores SET score = :score, source = :source, environment = :environment WHERE seq = :seq;

-- name: drop_sheet
-- A sheet that the job's new score does not have.
DELETE FROM sheets WHERE seq = :seq AND n = :n;

-- name: put_sheet
-- A sheet's row, new or changed.
INSERT INTO sheets (seq, n, stage, instance, fan_count, start_item, end_item, dependencies, scope, state, reason, until, k,
                    history, last, cost_usd)
VALUES (:seq, :n, :stage, :instance, :fan_count, :start_item, :end_item, :dependencies, :scope, :state, :reason, :until, :k,
        :history, :last, :cost_usd)
ON CONFLICT (seq, n) DO UPDATE SET
    stage = excluded.stage, instance = excluded.instance, fan_count = excluded.fan_count, start_item = excluded.start_item,
    end_item = excluded.end_item, dependencies = excluded.dependencies, scope = excluded.scope, state = excluded.state, reason = excluded.reason, until = excluded.until, k = excluded.k,
    history = excluded.history, last = excluded.last, cost_usd = excluded.cost_usd;

-- name: put_attempt
-- An attempt's row, new or changed.
INSERT INTO attempts (seq, n, k, state, mode, worker, assigned_at, facts)
VALUES (:seq, :n, :k, :state, :mode, :worker, :assigned_at, :facts)
ON CONFLICT (seq, n, k) DO UPDATE SET state = excluded.state, facts = excluded.facts;

-- name: put_event
-- One thing that happened.
INSERT INTO events (id, at, type, job, sheet, attempt, data) VALUES (:id, :at, :type, :job, :sheet, :attempt, :data);

-- name: put_answer
-- What a request was answered, by its key.
INSERT INTO answers (key, at, answer) VALUES (:key, :at, :answer)
ON CONFLICT (key) DO UPDATE SET at = excluded.at, answer = excluded.answer;

-- name: drop_answers
-- Forget what nobody asks for again.
DELETE FROM answers WHERE at < :before;

-- name: answer_to
-- What the request with this key was answered.
SELECT answer FROM answers WHERE key = :key;

-- name: put_hold
-- Do not start anything on a scope before a time.
INSERT INTO holds (scope, since, until, reason, evidence, facts)
VALUES (:scope, :since, :until, :reason, :evidence, :facts)
ON CONFLICT (scope) DO UPDATE SET since = excluded.since, until = excluded.until, reason = excluded.reason,
    evidence = excluded.evidence, facts = excluded.facts;

-- name: drop_hold
-- Forget a scope.
DELETE FROM holds WHERE scope = :scope;

-- name: put_spending
-- What a scope used today.
INSERT INTO spending (scope, day, usd, tokens) VALUES (:scope, :day, :usd, :tokens)
ON CONFLICT (scope) DO UPDATE SET day = excluded.day, usd = excluded.usd, tokens = excluded.tokens;

-- name: all_spending
-- What each scope used.
SELECT * FROM spending;

-- name: put_group
-- How many sheets of a group run at once.
INSERT INTO groups (name, parallel) VALUES (:name, :parallel)
ON CONFLICT (name) DO UPDATE SET parallel = excluded.parallel;

-- name: drop_group
-- A group has no limit of its own any more.
DELETE FROM groups WHERE name = :name;

-- name: all_groups
-- Every group's limit.
SELECT name, parallel FROM groups ORDER BY name;

-- name: drop_job
-- Forget a job: its score, sheets and attempts go with it.
DELETE FROM jobs WHERE seq = :seq;

-- name: drop_job_events
-- Forget what happened to a job.
DELETE FROM events WHERE job = :job;

-- name: all_holds
-- Every hold.
SELECT * FROM holds;

-- name: last_ids
-- The highest job number and event id ever given, pruned ones included.
SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'jobs'), 0) AS job,
       COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0) AS event;

-- name: unfinished_jobs
-- Jobs that have not ended.
SELECT * FROM jobs WHERE state IN ('queued', 'running', 'paused') ORDER BY seq;

-- name: unfinished_sheets
-- Their sheets.
SELECT sheets.* FROM sheets JOIN jobs USING (seq) WHERE jobs.state IN ('queued', 'running', 'paused') ORDER BY seq, n;

-- name: running_attempts
-- Attempts that were running when the coordinator was last there.
SELECT attempts.*, jobs.id AS job FROM attempts JOIN jobs USING (seq) WHERE attempts.state = 'running' ORDER BY seq, n, k;

-- name: job_by_id
-- One job.
SELECT * FROM jobs WHERE id = :job;

-- name: job_by_seq
-- One job.
SELECT * FROM jobs WHERE seq = :seq;

-- name: newest_job_named
-- A name's newest job.
SELECT * FROM jobs WHERE name = :name ORDER BY seq DESC LIMIT 1;

-- name: jobs_with_prefix
-- Jobs whose id begins so, a few of them. :upper is :prefix with the last of all characters behind it.
SELECT * FROM jobs WHERE id >= :prefix AND id < :upper ORDER BY seq DESC LIMIT 20;

-- name: recent_ids
-- Ids and names of the newest jobs, for a hint.
SELECT id, name FROM jobs ORDER BY seq DESC LIMIT 500;

-- name: jobs_in_states
-- The newest jobs in some states (:states is JSON).
SELECT * FROM jobs WHERE seq < :before AND state IN (SELECT value FROM json_each(:states)) ORDER BY seq DESC LIMIT :limit;

-- name: count_jobs
-- How many jobs are in each state.
SELECT state, COUNT(*) AS count FROM jobs GROUP BY state;

-- name: sheets_of
-- A job's sheets, a page of them.
SELECT * FROM sheets WHERE seq = :seq AND n > :after ORDER BY n LIMIT :limit;

-- name: attempts_of
-- The attempts of a range of sheets.
SELECT * FROM attempts WHERE seq = :seq AND n > :after AND n <= :upto ORDER BY n, k;

-- name: attempts_in_order
-- A job's attempts in the order they were started, without their reports. `ran` is a list as JSON: on which backend, and
-- which of its sheet's choices that was. `written`: where its log ended; of an earlier version's it is only known that it
-- printed something.
SELECT n, k, state, assigned_at, json_extract(facts, '$.backend', '$.choice') AS ran,
    COALESCE(json_extract(facts, '$.log_bytes'), json_extract(facts, '$.bytes') > 0) AS written
FROM attempts WHERE seq = :seq
ORDER BY assigned_at, n, k;

-- name: last_attempts
-- The newest attempt of some sheets (:sheets is JSON).
SELECT n, k, facts FROM attempts WHERE seq = :seq AND n IN (SELECT value FROM json_each(:sheets)) ORDER BY n, k;

-- name: score_of
-- What a job was submitted with.
SELECT score, source, environment FROM scores WHERE seq = :seq;

-- name: events_since
-- What happened after an event.
SELECT * FROM events WHERE id > :since ORDER BY id LIMIT :limit;

-- name: job_events_since
-- What happened to a job after an event.
SELECT * FROM events WHERE job = :job AND id > :since ORDER BY id LIMIT :limit;

-- name: last_event_before
-- The newest event that is older than a time; looked for from the newest.
SELECT id FROM events WHERE at < :at ORDER BY id DESC LIMIT 1;

-- name: event_before_last
-- The newest event but :tail, of those after an event.
SELECT id FROM events WHERE id > :since ORDER BY id DESC LIMIT 1 OFFSET :tail;

-- name: job_event_before_last
-- The same of one job.
SELECT id FROM events WHERE job = :job AND id > :since ORDER BY id DESC LIMIT 1 OFFSET :tail;

-- name: prunable_jobs
-- Some ended jobs beyond the newest :keep, or ended before :before.
SELECT seq, id FROM jobs WHERE state IN ('completed', 'failed', 'cancelled')
    AND (ended_at < :before OR seq < (
        SELECT seq FROM jobs WHERE state IN ('completed', 'failed', 'cancelled') ORDER BY seq DESC LIMIT 1 OFFSET :keep - 1))
ORDER BY seq LIMIT :most;

-- name: prunable_ids
-- All of them.
SELECT id FROM jobs WHERE state IN ('completed', 'failed', 'cancelled')
    AND (ended_at < :before OR seq < (
        SELECT seq FROM jobs WHERE state IN ('completed', 'failed', 'cancelled') ORDER BY seq DESC LIMIT 1 OFFSET :keep - 1));

-- name: old_events
-- The oldest event of no job, when it is older than :before or there are :keep newer ones.
SELECT id FROM (SELECT id, at FROM events WHERE job IS NULL ORDER BY id LIMIT 1)
WHERE at < :before OR id <= COALESCE((SELECT id FROM events WHERE job IS NULL ORDER BY id DESC LIMIT 1 OFFSET :keep), 0);

-- name: drop_old_events
-- Some of those.
DELETE FROM events WHERE id IN (SELECT id FROM events WHERE job IS NULL ORDER BY id LIMIT :most)
    AND (at < :before OR id <= COALESCE((SELECT id FROM events WHERE job IS NULL ORDER BY id DESC LIMIT 1 OFFSET :keep), 0));

-- name: old_of_scopes
-- Whether there is something that the next two statements forget.
SELECT 1 AS there FROM holds WHERE since < :before AND until < :before UNION SELECT 1 FROM spending WHERE day < :day LIMIT 1;

-- name: drop_old_holds
-- What was learned of scopes that nobody has used for long.
DELETE FROM holds WHERE since < :before AND until < :before;

-- name: drop_old_spending
-- What scopes used on days that no budget asks for.
DELETE FROM spending WHERE day < :day;

-- name: archive_places
-- Where `--fresh` of some jobs may have made archives.
SELECT seq, workspace, CASE WHEN json_extract(score, '$.workspace_lifecycle.archive_on_fresh')
    THEN json_extract(score, '$.workspace_lifecycle.archive_dir') END AS archive_dir
FROM scores JOIN jobs USING (seq) WHERE seq > :after ORDER BY seq LIMIT :limit;

-- name: job_ids
-- Every job's id.
SELECT id FROM jobs;

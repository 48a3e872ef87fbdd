BEGIN TRANSACTION;
CREATE TABLE answers (
    key TEXT PRIMARY KEY,
    at REAL NOT NULL,
    answer TEXT NOT NULL             -- JSON
) STRICT, WITHOUT ROWID;
INSERT INTO "answers" VALUES('388b1a20949d27fce7a4ddf9bc8a35d4',1.79542307117091393467e+09,'{"job":"gavotte-3","sheets":[1]}');
INSERT INTO "answers" VALUES('700e6b3c79c620a27ab77cebda4e8ba0',1.79542307025756692892e+09,'{"job":"gavotte-3"}');
INSERT INTO "answers" VALUES('75c69379d6d326e2b18f8e92b07e8516',1.79542306458469867703e+09,'{"job":"etude-1"}');
INSERT INTO "answers" VALUES('76fb7c91308633345e301b0c9bf432ef',1.79542307828266072271e+09,'{"job":"nocturne-5","sheets":[1]}');
INSERT INTO "answers" VALUES('8f008b67baaff5c1aeaa8015064f1450',1.79542307730411911008e+09,'{"job":"nocturne-5"}');
INSERT INTO "answers" VALUES('a0d330b941ff25a861055292f04aa8ac',1.79542307486180400849e+09,'{"groups":[{"name":"loud","parallel":2,"running":0}]}');
INSERT INTO "answers" VALUES('b8a6789d6f067c0f65b001dabe09cb70',1.79542307400651860241e+09,'{"job":"sonata-4"}');
INSERT INTO "answers" VALUES('c7fd4445364c0bb4e901559eb45c56d8',1.79542306745079970359e+09,'{"job":"fugue-2"}');
INSERT INTO "answers" VALUES('f5f6e99e6c211e02a777c6198f48a6c9',1.79542307970324540138e+09,'{"job":"postlude-6"}');
CREATE TABLE attempts (
    seq INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    n INTEGER NOT NULL,
    k INTEGER NOT NULL,
    state TEXT NOT NULL,             -- running, ended
    mode TEXT NOT NULL,
    worker TEXT NOT NULL,
    assigned_at REAL NOT NULL,
    facts TEXT NOT NULL,             -- JSON: pids while it runs, the report when it has ended
    PRIMARY KEY (seq, n, k)
) STRICT, WITHOUT ROWID;
INSERT INTO "attempts" VALUES(1,1,1,'ended','normal','1a2078dc18c-1-2',1.79542306462366223337e+09,'{"backend":"command","choice":0,"backend_reason":"","agent_pid":27229,"started_at":1795423064.7728078,"worker_pid":27048,"verdict":"ok","code":"","message":"","hint":"","evidence":"","exit_code":0,"signal":null,"ended_at":1795423064.802597,"bytes":7,"lines":1,"tail":"played\n","cost_usd":null,"tokens":null,"session_id":null,"model":null,"validations":[],"captured":{},"survivors":0}');
INSERT INTO "attempts" VALUES(1,2,1,'ended','normal','1a2078dc18c-1-2',1.795423064803448677e+09,'{"backend":"command","choice":0,"backend_reason":"","agent_pid":27233,"started_at":1795423064.8384378,"worker_pid":27048,"verdict":"ok","code":"","message":"","hint":"","evidence":"","exit_code":0,"signal":null,"ended_at":1795423064.8586178,"bytes":7,"lines":1,"tail":"played\n","cost_usd":null,"tokens":null,"session_id":null,"model":null,"validations":[],"captured":{},"survivors":0}');
INSERT INTO "attempts" VALUES(2,1,1,'ended','normal','1a2078dc18c-1-2',1.79542306746366024019e+09,'{"backend":"command","choice":0,"backend_reason":"","agent_pid":27348,"started_at":1795423067.4837592,"worker_pid":27048,"verdict":"failed","code":"E009","message":"it exited with 3","hint":"","evidence":"wrong","exit_code":3,"signal":null,"ended_at":1795423067.4917855,"bytes":6,"lines":1,"tail":"","cost_usd":null,"tokens":null,"session_id":null,"model":null,"validations":[],"captured":{},"survivors":0}');
INSERT INTO "attempts" VALUES(3,1,1,'ended','normal','1a2078dc18c-1-2',1.79542307027166533469e+09,'{"backend":"command","choice":0,"backend_reason":"","agent_pid":27455,"started_at":1795423070.3028522,"worker_pid":27048,"verdict":"cancelled","code":"E004","message":"cancel","hint":"","evidence":"","exit_code":null,"signal":15,"ended_at":1795423071.1752596,"bytes":0,"lines":0,"tail":"","cost_usd":null,"tokens":null,"session_id":null,"model":null,"validations":[],"captured":{},"survivors":0}');
INSERT INTO "attempts" VALUES(4,1,1,'ended','normal','1a2078dc18c-1-2',1.79542307400908637046e+09,'{"backend":"command","choice":0,"backend_reason":"","agent_pid":27603,"started_at":1795423074.0436711,"worker_pid":27048,"verdict":"ok","code":"","message":"","hint":"","evidence":"","exit_code":0,"signal":null,"ended_at":1795423074.0538306,"bytes":7,"lines":1,"tail":"played\n","cost_usd":null,"tokens":null,"session_id":null,"model":null,"validations":[],"captured":{},"survivors":0}');
INSERT INTO "attempts" VALUES(4,2,1,'running','normal','1a2078dc18c-1-2',1.7954230740545511246e+09,'{"backend":"command","choice":0,"backend_reason":"","agent_pid":27605,"started_at":1795423074.0943813,"worker_pid":27048}');
INSERT INTO "attempts" VALUES(5,1,1,'ended','normal','1a2078dc18c-2-3',1.79542307731451725961e+09,'{"backend":"command","choice":0,"backend_reason":"","agent_pid":27757,"started_at":1795423077.3905108,"worker_pid":27051,"verdict":"cancelled","code":"E004","message":"pause","hint":"","evidence":"","exit_code":null,"signal":15,"ended_at":1795423078.294991,"bytes":0,"lines":0,"tail":"","cost_usd":null,"tokens":null,"session_id":null,"model":null,"validations":[],"captured":{},"survivors":0}');
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    type TEXT NOT NULL,
    job TEXT,
    sheet INTEGER,
    attempt INTEGER,
    data TEXT NOT NULL
) STRICT;
INSERT INTO "events" VALUES(1,1.79542306081083273888e+09,'daemon.started',NULL,NULL,NULL,'{"pid":27046,"restarts":0}');
INSERT INTO "events" VALUES(2,1.79542306462343454363e+09,'job.queued','etude-1',NULL,NULL,'{"name":"etude","sheets":2,"by":"root"}');
INSERT INTO "events" VALUES(3,1.79542306462366223337e+09,'job.running','etude-1',NULL,NULL,'{"reason":""}');
INSERT INTO "events" VALUES(4,1.79542306462366223337e+09,'sheet.running','etude-1',1,1,'{"reason":"","until":null,"mode":"normal"}');
INSERT INTO "events" VALUES(5,1.79542306477327585217e+09,'attempt.started','etude-1',1,1,'{"mode":"normal","backend":"command"}');
INSERT INTO "events" VALUES(6,1.7954230648030319214e+09,'attempt.finished','etude-1',1,1,'{"mode":"normal","seconds":0.030224084854125977,"validations":[],"verdict":"ok","code":"","message":"","hint":"","evidence":"","exit_code":0,"signal":null,"cost_usd":null,"survivors":0}');
INSERT INTO "events" VALUES(7,1.7954230648030319214e+09,'sheet.completed','etude-1',1,1,'{"reason":"","until":null}');
INSERT INTO "events" VALUES(8,1.795423064803448677e+09,'sheet.running','etude-1',2,1,'{"reason":"","until":null,"mode":"normal"}');
INSERT INTO "events" VALUES(9,1.79542306483968782423e+09,'attempt.started','etude-1',2,1,'{"mode":"normal","backend":"command"}');
INSERT INTO "events" VALUES(10,1.79542306485900211333e+09,'attempt.finished','etude-1',2,1,'{"mode":"normal","seconds":0.02056431770324707,"validations":[],"verdict":"ok","code":"","message":"","hint":"","evidence":"","exit_code":0,"signal":null,"cost_usd":null,"survivors":0}');
INSERT INTO "events" VALUES(11,1.79542306485900211333e+09,'sheet.completed','etude-1',2,1,'{"reason":"","until":null}');
INSERT INTO "events" VALUES(12,1.79542306485900211333e+09,'job.completed','etude-1',NULL,NULL,'{"reason":""}');
INSERT INTO "events" VALUES(13,1.79542306746356248852e+09,'job.queued','fugue-2',NULL,NULL,'{"name":"fugue","sheets":1,"by":"root"}');
INSERT INTO "events" VALUES(14,1.79542306746366024019e+09,'job.running','fugue-2',NULL,NULL,'{"reason":""}');
INSERT INTO "events" VALUES(15,1.79542306746366024019e+09,'sheet.running','fugue-2',1,1,'{"reason":"","until":null,"mode":"normal"}');
INSERT INTO "events" VALUES(16,1.79542306748475170136e+09,'attempt.started','fugue-2',1,1,'{"mode":"normal","backend":"command"}');
INSERT INTO "events" VALUES(17,1.79542306749217534063e+09,'attempt.finished','fugue-2',1,1,'{"mode":"normal","seconds":0.008416175842285156,"validations":[],"verdict":"failed","code":"E009","message":"it exited with 3","hint":"","evidence":"wrong","exit_code":3,"signal":null,"cost_usd":null,"survivors":0}');
INSERT INTO "events" VALUES(18,1.79542306749217534063e+09,'sheet.failed','fugue-2',1,1,'{"reason":"E009 it exited with 3","until":null,"code":"E009","hint":""}');
INSERT INTO "events" VALUES(19,1.79542306749217534063e+09,'job.failed','fugue-2',NULL,NULL,'{"reason":"sheet 1 failed: E009 it exited with 3"}');
INSERT INTO "events" VALUES(20,1.7954230702715656757e+09,'job.queued','gavotte-3',NULL,NULL,'{"name":"gavotte","sheets":1,"by":"root"}');
INSERT INTO "events" VALUES(21,1.79542307027166533469e+09,'job.running','gavotte-3',NULL,NULL,'{"reason":""}');
INSERT INTO "events" VALUES(22,1.79542307027166533469e+09,'sheet.running','gavotte-3',1,1,'{"reason":"","until":null,"mode":"normal"}');
INSERT INTO "events" VALUES(23,1.79542307030307865143e+09,'attempt.started','gavotte-3',1,1,'{"mode":"normal","backend":"command"}');
INSERT INTO "events" VALUES(24,1.79542307116916680337e+09,'asked.cancel','gavotte-3',NULL,NULL,'{"by":"root","sheets":[]}');
INSERT INTO "events" VALUES(25,1.79542307117836165428e+09,'attempt.finished','gavotte-3',1,1,'{"mode":"normal","seconds":0.87550950050354,"validations":[],"verdict":"cancelled","code":"E004","message":"cancel","hint":"","evidence":"","exit_code":null,"signal":15,"cost_usd":null,"survivors":0}');
INSERT INTO "events" VALUES(26,1.79542307117836165428e+09,'sheet.cancelled','gavotte-3',1,1,'{"reason":"cancelled","until":null}');
INSERT INTO "events" VALUES(27,1.79542307117836165428e+09,'job.cancelled','gavotte-3',NULL,NULL,'{"reason":"cancelled"}');
INSERT INTO "events" VALUES(28,1.7954230740090048313e+09,'job.queued','sonata-4',NULL,NULL,'{"name":"sonata","sheets":3,"by":"root"}');
INSERT INTO "events" VALUES(29,1.79542307400908637046e+09,'job.running','sonata-4',NULL,NULL,'{"reason":""}');
INSERT INTO "events" VALUES(30,1.79542307400908637046e+09,'sheet.running','sonata-4',1,1,'{"reason":"","until":null,"mode":"normal"}');
INSERT INTO "events" VALUES(31,1.79542307404466557497e+09,'attempt.started','sonata-4',1,1,'{"mode":"normal","backend":"command"}');
INSERT INTO "events" VALUES(32,1.79542307405424833295e+09,'attempt.finished','sonata-4',1,1,'{"mode":"normal","seconds":0.010577201843261719,"validations":[],"verdict":"ok","code":"","message":"","hint":"","evidence":"","exit_code":0,"signal":null,"cost_usd":null,"survivors":0}');
INSERT INTO "events" VALUES(33,1.79542307405424833295e+09,'sheet.completed','sonata-4',1,1,'{"reason":"","until":null}');
INSERT INTO "events" VALUES(34,1.7954230740545511246e+09,'sheet.running','sonata-4',2,1,'{"reason":"","until":null,"mode":"normal"}');
INSERT INTO "events" VALUES(35,1.79542307409477949146e+09,'attempt.started','sonata-4',2,1,'{"mode":"normal","backend":"command"}');
INSERT INTO "events" VALUES(36,1.79542307486172103884e+09,'asked.group',NULL,NULL,NULL,'{"by":"root","group":"loud","parallel":2}');
INSERT INTO "events" VALUES(37,1.79542307731444168088e+09,'job.queued','nocturne-5',NULL,NULL,'{"name":"nocturne","sheets":1,"by":"root"}');
INSERT INTO "events" VALUES(38,1.79542307731451725961e+09,'job.running','nocturne-5',NULL,NULL,'{"reason":""}');
INSERT INTO "events" VALUES(39,1.79542307731451725961e+09,'sheet.running','nocturne-5',1,1,'{"reason":"","until":null,"mode":"normal"}');
INSERT INTO "events" VALUES(40,1.79542307739426755912e+09,'attempt.started','nocturne-5',1,1,'{"mode":"normal","backend":"command"}');
INSERT INTO "events" VALUES(41,1.79542307828235912325e+09,'asked.pause','nocturne-5',NULL,NULL,'{"by":"root","now":true}');
INSERT INTO "events" VALUES(42,1.79542307828235912325e+09,'job.paused','nocturne-5',NULL,NULL,'{"reason":"paused by hand"}');
INSERT INTO "events" VALUES(43,1.79542307829534649853e+09,'attempt.finished','nocturne-5',1,1,'{"mode":"normal","seconds":0.9048357009887695,"validations":[],"verdict":"cancelled","code":"E004","message":"pause","hint":"","evidence":"","exit_code":null,"signal":15,"cost_usd":null,"survivors":0}');
INSERT INTO "events" VALUES(44,1.79542307829534649853e+09,'sheet.pending','nocturne-5',1,1,'{"reason":"pause","until":null}');
INSERT INTO "events" VALUES(45,1.79542307971007061005e+09,'job.queued','postlude-6',NULL,NULL,'{"name":"postlude","sheets":1,"by":"root"}');
CREATE TABLE groups (
    name TEXT PRIMARY KEY,
    parallel INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "groups" VALUES('loud',2);
CREATE TABLE holds (
    scope TEXT PRIMARY KEY,
    since REAL NOT NULL,
    until REAL NOT NULL,
    reason TEXT NOT NULL,
    evidence TEXT NOT NULL
, facts TEXT NOT NULL DEFAULT '{}') STRICT, WITHOUT ROWID;
INSERT INTO "holds" VALUES('claude_cli/default/*',1763856000.0,4102444800.0,'fugue-2:1:1 hit a limit','resets at 00:00','{}');
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice, also when the newest job was pruned
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    wanted TEXT NOT NULL,            -- 'cancel' while a cancellation is under way, else ''
    score_path TEXT NOT NULL,
    workspace TEXT NOT NULL,
    priority INTEGER NOT NULL,
    group_name TEXT NOT NULL,
    submitted_at REAL NOT NULL,
    started_at REAL,
    ended_at REAL,
    not_before REAL NOT NULL,        -- pause_between_sheets_seconds after the last sheet's end
    counts TEXT NOT NULL,            -- JSON {sheet state: count}
    cost_usd REAL,                   -- NULL = unknown
    tokens TEXT NOT NULL,            -- JSON {input, output, cache_read, cache_write}
    policy TEXT NOT NULL             -- JSON: what scheduling and retrying need of the score
, after_job TEXT NOT NULL DEFAULT '', place REAL NOT NULL DEFAULT 0) STRICT;
INSERT INTO "jobs" VALUES(1,'etude-1','etude','completed','','','@PLACE@/etude.yaml','@PLACE@/etude',0,'',1.79542306451103687286e+09,1.79542306462366223337e+09,1.79542306485900211333e+09,1.79542306485900211333e+09,'{"completed":2}',NULL,'{"input":0,"output":0,"cache_read":0,"cache_write":0}','{"max_concurrent":1,"fail_fast":true,"pause_seconds":0.0,"full_attempts":1,"base_delay":10.0,"max_delay":3600.0,"exponential_base":2.0,"jitter":true,"max_completions":3,"completion_delay":5.0,"completion_threshold":50.0,"limit_wait":3600.0,"max_waits":24,"breaker":true,"breaker_threshold":5,"breaker_recovery":300.0,"max_quota_waits":48,"max_cost_sheet":null,"max_cost_job":null,"cost_per_1k_input":null,"cost_per_1k_output":null,"warn_at_percent":80.0,"skip_when":{},"choices":{}}','',0.0);
INSERT INTO "jobs" VALUES(2,'fugue-2','fugue','failed','sheet 1 failed: E009 it exited with 3','','@PLACE@/fugue.yaml','@PLACE@/fugue',0,'',1.79542306744971776012e+09,1.79542306746366024019e+09,1.79542306749217534063e+09,1.79542306749217534063e+09,'{"failed":1}',NULL,'{"input":0,"output":0,"cache_read":0,"cache_write":0}','{"max_concurrent":1,"fail_fast":true,"pause_seconds":0.0,"full_attempts":1,"base_delay":10.0,"max_delay":3600.0,"exponential_base":2.0,"jitter":true,"max_completions":3,"completion_delay":5.0,"completion_threshold":50.0,"limit_wait":3600.0,"max_waits":24,"breaker":true,"breaker_threshold":5,"breaker_recovery":300.0,"max_quota_waits":48,"max_cost_sheet":null,"max_cost_job":null,"cost_per_1k_input":null,"cost_per_1k_output":null,"warn_at_percent":80.0,"skip_when":{},"choices":{}}','',0.0);
INSERT INTO "jobs" VALUES(3,'gavotte-3','gavotte','cancelled','cancelled','','@PLACE@/gavotte.yaml','@PLACE@/gavotte',0,'',1.7954230702570538521e+09,1.79542307027166533469e+09,1.79542307117836165428e+09,1.79542307117836165428e+09,'{"cancelled":1}',NULL,'{"input":0,"output":0,"cache_read":0,"cache_write":0}','{"max_concurrent":1,"fail_fast":true,"pause_seconds":0.0,"full_attempts":1,"base_delay":10.0,"max_delay":3600.0,"exponential_base":2.0,"jitter":true,"max_completions":3,"completion_delay":5.0,"completion_threshold":50.0,"limit_wait":3600.0,"max_waits":24,"breaker":true,"breaker_threshold":5,"breaker_recovery":300.0,"max_quota_waits":48,"max_cost_sheet":null,"max_cost_job":null,"cost_per_1k_input":null,"cost_per_1k_output":null,"warn_at_percent":80.0,"skip_when":{},"choices":{}}','',0.0);
INSERT INTO "jobs" VALUES(4,'sonata-4','sonata','running','','','@PLACE@/sonata.yaml','@PLACE@/sonata',0,'',1.79542307400597548486e+09,1.79542307400908637046e+09,NULL,1.79542307405424833295e+09,'{"pending":1,"running":1,"completed":1}',NULL,'{"input":0,"output":0,"cache_read":0,"cache_write":0}','{"max_concurrent":1,"fail_fast":true,"pause_seconds":0.0,"full_attempts":1,"base_delay":10.0,"max_delay":3600.0,"exponential_base":2.0,"jitter":true,"max_completions":3,"completion_delay":5.0,"completion_threshold":50.0,"limit_wait":3600.0,"max_waits":24,"breaker":true,"breaker_threshold":5,"breaker_recovery":300.0,"max_quota_waits":48,"max_cost_sheet":null,"max_cost_job":null,"cost_per_1k_input":null,"cost_per_1k_output":null,"warn_at_percent":80.0,"skip_when":{},"choices":{}}','',0.0);
INSERT INTO "jobs" VALUES(5,'nocturne-5','nocturne','paused','paused by hand','','@PLACE@/nocturne.yaml','@PLACE@/nocturne',0,'loud',1.79542307730385327334e+09,1.79542307731451725961e+09,NULL,0.0,'{"pending":1}',NULL,'{"input":0,"output":0,"cache_read":0,"cache_write":0}','{"max_concurrent":1,"fail_fast":true,"pause_seconds":0.0,"full_attempts":1,"base_delay":10.0,"max_delay":3600.0,"exponential_base":2.0,"jitter":true,"max_completions":3,"completion_delay":5.0,"completion_threshold":50.0,"limit_wait":3600.0,"max_waits":24,"breaker":true,"breaker_threshold":5,"breaker_recovery":300.0,"max_quota_waits":48,"max_cost_sheet":null,"max_cost_job":null,"cost_per_1k_input":null,"cost_per_1k_output":null,"warn_at_percent":80.0,"skip_when":{},"choices":{}}','',0.0);
INSERT INTO "jobs" VALUES(6,'postlude-6','postlude','queued','','','@PLACE@/postlude.yaml','@PLACE@/postlude',0,'',1.79542307970278358459e+09,NULL,NULL,0.0,'{"pending":1}',NULL,'{"input":0,"output":0,"cache_read":0,"cache_write":0}','{"max_concurrent":1,"fail_fast":true,"pause_seconds":0.0,"full_attempts":1,"base_delay":10.0,"max_delay":3600.0,"exponential_base":2.0,"jitter":true,"max_completions":3,"completion_delay":5.0,"completion_threshold":50.0,"limit_wait":3600.0,"max_waits":24,"breaker":true,"breaker_threshold":5,"breaker_recovery":300.0,"max_quota_waits":48,"max_cost_sheet":null,"max_cost_job":null,"cost_per_1k_input":null,"cost_per_1k_output":null,"warn_at_percent":80.0,"skip_when":{},"choices":{}}','sonata-4',0.0);
CREATE TABLE scores (
    seq INTEGER PRIMARY KEY REFERENCES jobs (seq) ON DELETE CASCADE,
    score TEXT NOT NULL,             -- the normalised score, JSON
    source TEXT NOT NULL,            -- what the user wrote
    environment TEXT NOT NULL        -- JSON: the submitter's variables named by submit_env
) STRICT;
INSERT INTO "scores" VALUES(1,'{"name":"etude","description":null,"workspace":"@PLACE@/etude","backend":{"type":"command","command":["sh","-c","echo played"],"env":{},"skip_permissions":true,"disable_mcp":true,"output_format":"stream-json","cli_model":null,"model":"claude-sonnet-4-20250514","allowed_tools":null,"system_prompt_file":null,"working_directory":null,"timeout_seconds":1800.0,"timeout_overrides":{},"cli_extra_args":[],"max_output_capture_bytes":10240,"resume_session":"auto","pty":false,"profile":null,"api_key_env":"ANTHROPIC_API_KEY","max_tokens":8192,"temperature":0.7,"ollama":{"base_url":"http://localhost:11434","model":"llama3.1:8b","num_ctx":32768,"dynamic_tools":true,"compression_level":"moderate","timeout_seconds":300.0,"keep_alive":"5m","max_tool_iterations":10,"health_check_timeout":10.0},"recursive_light":{"endpoint":"http://localhost:8080","user_id":null,"timeout":30.0},"fallbacks":[]},"sheet":{"size":1,"total_items":2,"start_item":1,"dependencies":{},"fan_out":{},"fan_out_stage_map":null,"skip_when":{},"skip_when_command":{},"backends":{}},"prompt":{"template":"Play sheet {{ sheet_num }}.","template_file":null,"variables":{},"stakes":null,"thinking_method":null},"retry":{"max_retries":1,"base_delay_seconds":10.0,"max_delay_seconds":3600.0,"exponential_base":2.0,"jitter":true,"max_completion_attempts":3,"completion_delay_seconds":5.0,"completion_threshold_percent":50.0},"rate_limit":{"detection_patterns":["rate.?limit","usage.?limit","quota","too many requests","429","capacity","try again later"],"wait_minutes":60,"max_waits":24,"max_quota_waits":48},"circuit_breaker":null,"cost_limits":null,"stale_detection":{"enabled":false,"idle_timeout_seconds":300.0,"first_byte_seconds":null,"check_interval_seconds":30.0},"parallel":{"enabled":false,"max_concurrent":3,"fail_fast":true,"budget_partition":true},"cross_sheet":null,"feedback":null,"isolation":null,"workspace_lifecycle":{"archive_on_fresh":false,"archive_dir":"archive","archive_naming":"iteration","max_archives":0,"preserve_patterns":[".iteration",".mozart-*",".coverage","archive/**",".worktrees/**"]},"learning":null,"grounding":null,"checkpoints":null,"conductor":null,"concert":null,"ai_review":null,"logging":null,"validations":[],"notifications":[],"on_success":[],"on_failure_hooks":[],"bridge":null,"state_backend":"sqlite","state_path":null,"pause_between_sheets_seconds":0.0,"priority":0,"group":null}','{
 "name": "etude",
 "workspace": "@PLACE@/etude",
 "backend": {
  "type": "command",
  "command": [
   "sh",
   "-c",
   "echo played"
  ]
 },
 "sheet": {
  "size": 1,
  "total_items": 2
 },
 "prompt": {
  "template": "Play sheet {{ sheet_num }}."
 },
 "retry": {
  "max_retries": 1
 },
 "pause_between_sheets_seconds": 0
}','{"PATH":"/usr/local/bin:/usr/bin:/bin","LANG":"C.UTF-8"}');
INSERT INTO "scores" VALUES(2,'{"name":"fugue","description":null,"workspace":"@PLACE@/fugue","backend":{"type":"command","command":["sh","-c","echo wrong >&2; exit 3"],"env":{},"skip_permissions":true,"disable_mcp":true,"output_format":"stream-json","cli_model":null,"model":"claude-sonnet-4-20250514","allowed_tools":null,"system_prompt_file":null,"working_directory":null,"timeout_seconds":1800.0,"timeout_overrides":{},"cli_extra_args":[],"max_output_capture_bytes":10240,"resume_session":"auto","pty":false,"profile":null,"api_key_env":"ANTHROPIC_API_KEY","max_tokens":8192,"temperature":0.7,"ollama":{"base_url":"http://localhost:11434","model":"llama3.1:8b","num_ctx":32768,"dynamic_tools":true,"compression_level":"moderate","timeout_seconds":300.0,"keep_alive":"5m","max_tool_iterations":10,"health_check_timeout":10.0},"recursive_light":{"endpoint":"http://localhost:8080","user_id":null,"timeout":30.0},"fallbacks":[]},"sheet":{"size":1,"total_items":1,"start_item":1,"dependencies":{},"fan_out":{},"fan_out_stage_map":null,"skip_when":{},"skip_when_command":{},"backends":{}},"prompt":{"template":"Play sheet {{ sheet_num }}.","template_file":null,"variables":{},"stakes":null,"thinking_method":null},"retry":{"max_retries":1,"base_delay_seconds":10.0,"max_delay_seconds":3600.0,"exponential_base":2.0,"jitter":true,"max_completion_attempts":3,"completion_delay_seconds":5.0,"completion_threshold_percent":50.0},"rate_limit":{"detection_patterns":["rate.?limit","usage.?limit","quota","too many requests","429","capacity","try again later"],"wait_minutes":60,"max_waits":24,"max_quota_waits":48},"circuit_breaker":null,"cost_limits":null,"stale_detection":{"enabled":false,"idle_timeout_seconds":300.0,"first_byte_seconds":null,"check_interval_seconds":30.0},"parallel":{"enabled":false,"max_concurrent":3,"fail_fast":true,"budget_partition":true},"cross_sheet":null,"feedback":null,"isolation":null,"workspace_lifecycle":{"archive_on_fresh":false,"archive_dir":"archive","archive_naming":"iteration","max_archives":0,"preserve_patterns":[".iteration",".mozart-*",".coverage","archive/**",".worktrees/**"]},"learning":null,"grounding":null,"checkpoints":null,"conductor":null,"concert":null,"ai_review":null,"logging":null,"validations":[],"notifications":[],"on_success":[],"on_failure_hooks":[],"bridge":null,"state_backend":"sqlite","state_path":null,"pause_between_sheets_seconds":0.0,"priority":0,"group":null}','{
 "name": "fugue",
 "workspace": "@PLACE@/fugue",
 "backend": {
  "type": "command",
  "command": [
   "sh",
   "-c",
   "echo wrong >&2; exit 3"
  ]
 },
 "sheet": {
  "size": 1,
  "total_items": 1
 },
 "prompt": {
  "template": "Play sheet {{ sheet_num }}."
 },
 "retry": {
  "max_retries": 1
 },
 "pause_between_sheets_seconds": 0
}','{"PATH":"/usr/local/bin:/usr/bin:/bin","LANG":"C.UTF-8"}');
INSERT INTO "scores" VALUES(3,'{"name":"gavotte","description":null,"workspace":"@PLACE@/gavotte","backend":{"type":"command","command":["sh","-c","sleep 1000"],"env":{},"skip_permissions":true,"disable_mcp":true,"output_format":"stream-json","cli_model":null,"model":"claude-sonnet-4-20250514","allowed_tools":null,"system_prompt_file":null,"working_directory":null,"timeout_seconds":1800.0,"timeout_overrides":{},"cli_extra_args":[],"max_output_capture_bytes":10240,"resume_session":"auto","pty":false,"profile":null,"api_key_env":"ANTHROPIC_API_KEY","max_tokens":8192,"temperature":0.7,"ollama":{"base_url":"http://localhost:11434","model":"llama3.1:8b","num_ctx":32768,"dynamic_tools":true,"compression_level":"moderate","timeout_seconds":300.0,"keep_alive":"5m","max_tool_iterations":10,"health_check_timeout":10.0},"recursive_light":{"endpoint":"http://localhost:8080","user_id":null,"timeout":30.0},"fallbacks":[]},"sheet":{"size":1,"total_items":1,"start_item":1,"dependencies":{},"fan_out":{},"fan_out_stage_map":null,"skip_when":{},"skip_when_command":{},"backends":{}},"prompt":{"template":"Play sheet {{ sheet_num }}.","template_file":null,"variables":{},"stakes":null,"thinking_method":null},"retry":{"max_retries":1,"base_delay_seconds":10.0,"max_delay_seconds":3600.0,"exponential_base":2.0,"jitter":true,"max_completion_attempts":3,"completion_delay_seconds":5.0,"completion_threshold_percent":50.0},"rate_limit":{"detection_patterns":["rate.?limit","usage.?limit","quota","too many requests","429","capacity","try again later"],"wait_minutes":60,"max_waits":24,"max_quota_waits":48},"circuit_breaker":null,"cost_limits":null,"stale_detection":{"enabled":false,"idle_timeout_seconds":300.0,"first_byte_seconds":null,"check_interval_seconds":30.0},"parallel":{"enabled":false,"max_concurrent":3,"fail_fast":true,"budget_partition":true},"cross_sheet":null,"feedback":null,"isolation":null,"workspace_lifecycle":{"archive_on_fresh":false,"archive_dir":"archive","archive_naming":"iteration","max_archives":0,"preserve_patterns":[".iteration",".mozart-*",".coverage","archive/**",".worktrees/**"]},"learning":null,"grounding":null,"checkpoints":null,"conductor":null,"concert":null,"ai_review":null,"logging":null,"validations":[],"notifications":[],"on_success":[],"on_failure_hooks":[],"bridge":null,"state_backend":"sqlite","state_path":null,"pause_between_sheets_seconds":0.0,"priority":0,"group":null}','{
 "name": "gavotte",
 "workspace": "@PLACE@/gavotte",
 "backend": {
  "type": "command",
  "command": [
   "sh",
   "-c",
   "sleep 1000"
  ]
 },
 "sheet": {
  "size": 1,
  "total_items": 1
 },
 "prompt": {
  "template": "Play sheet {{ sheet_num }}."
 },
 "retry": {
  "max_retries": 1
 },
 "pause_between_sheets_seconds": 0
}','{"PATH":"/usr/local/bin:/usr/bin:/bin","LANG":"C.UTF-8"}');
INSERT INTO "scores" VALUES(4,'{"name":"sonata","description":null,"workspace":"@PLACE@/sonata","backend":{"type":"command","command":["sh","-c","test \"$MOZART_SHEET\" != 2 || until test -e \"$MOZART_WORKSPACE/open\"; do sleep 0.1; done; echo played"],"env":{},"skip_permissions":true,"disable_mcp":true,"output_format":"stream-json","cli_model":null,"model":"claude-sonnet-4-20250514","allowed_tools":null,"system_prompt_file":null,"working_directory":null,"timeout_seconds":1800.0,"timeout_overrides":{},"cli_extra_args":[],"max_output_capture_bytes":10240,"resume_session":"auto","pty":false,"profile":null,"api_key_env":"ANTHROPIC_API_KEY","max_tokens":8192,"temperature":0.7,"ollama":{"base_url":"http://localhost:11434","model":"llama3.1:8b","num_ctx":32768,"dynamic_tools":true,"compression_level":"moderate","timeout_seconds":300.0,"keep_alive":"5m","max_tool_iterations":10,"health_check_timeout":10.0},"recursive_light":{"endpoint":"http://localhost:8080","user_id":null,"timeout":30.0},"fallbacks":[]},"sheet":{"size":1,"total_items":3,"start_item":1,"dependencies":{},"fan_out":{},"fan_out_stage_map":null,"skip_when":{},"skip_when_command":{},"backends":{}},"prompt":{"template":"Play sheet {{ sheet_num }}.","template_file":null,"variables":{},"stakes":null,"thinking_method":null},"retry":{"max_retries":1,"base_delay_seconds":10.0,"max_delay_seconds":3600.0,"exponential_base":2.0,"jitter":true,"max_completion_attempts":3,"completion_delay_seconds":5.0,"completion_threshold_percent":50.0},"rate_limit":{"detection_patterns":["rate.?limit","usage.?limit","quota","too many requests","429","capacity","try again later"],"wait_minutes":60,"max_waits":24,"max_quota_waits":48},"circuit_breaker":null,"cost_limits":null,"stale_detection":{"enabled":false,"idle_timeout_seconds":300.0,"first_byte_seconds":null,"check_interval_seconds":30.0},"parallel":{"enabled":false,"max_concurrent":3,"fail_fast":true,"budget_partition":true},"cross_sheet":null,"feedback":null,"isolation":null,"workspace_lifecycle":{"archive_on_fresh":false,"archive_dir":"archive","archive_naming":"iteration","max_archives":0,"preserve_patterns":[".iteration",".mozart-*",".coverage","archive/**",".worktrees/**"]},"learning":null,"grounding":null,"checkpoints":null,"conductor":null,"concert":null,"ai_review":null,"logging":null,"validations":[],"notifications":[],"on_success":[],"on_failure_hooks":[],"bridge":null,"state_backend":"sqlite","state_path":null,"pause_between_sheets_seconds":0.0,"priority":0,"group":null}','{
 "name": "sonata",
 "workspace": "@PLACE@/sonata",
 "backend": {
  "type": "command",
  "command": [
   "sh",
   "-c",
   "test \"$MOZART_SHEET\" != 2 || until test -e \"$MOZART_WORKSPACE/open\"; do sleep 0.1; done; echo played"
  ]
 },
 "sheet": {
  "size": 1,
  "total_items": 3
 },
 "prompt": {
  "template": "Play sheet {{ sheet_num }}."
 },
 "retry": {
  "max_retries": 1
 },
 "pause_between_sheets_seconds": 0
}','{"PATH":"/usr/local/bin:/usr/bin:/bin","LANG":"C.UTF-8"}');
INSERT INTO "scores" VALUES(5,'{"name":"nocturne","description":null,"workspace":"@PLACE@/nocturne","backend":{"type":"command","command":["sh","-c","sleep 1000"],"env":{},"skip_permissions":true,"disable_mcp":true,"output_format":"stream-json","cli_model":null,"model":"claude-sonnet-4-20250514","allowed_tools":null,"system_prompt_file":null,"working_directory":null,"timeout_seconds":1800.0,"timeout_overrides":{},"cli_extra_args":[],"max_output_capture_bytes":10240,"resume_session":"auto","pty":false,"profile":null,"api_key_env":"ANTHROPIC_API_KEY","max_tokens":8192,"temperature":0.7,"ollama":{"base_url":"http://localhost:11434","model":"llama3.1:8b","num_ctx":32768,"dynamic_tools":true,"compression_level":"moderate","timeout_seconds":300.0,"keep_alive":"5m","max_tool_iterations":10,"health_check_timeout":10.0},"recursive_light":{"endpoint":"http://localhost:8080","user_id":null,"timeout":30.0},"fallbacks":[]},"sheet":{"size":1,"total_items":1,"start_item":1,"dependencies":{},"fan_out":{},"fan_out_stage_map":null,"skip_when":{},"skip_when_command":{},"backends":{}},"prompt":{"template":"Play sheet {{ sheet_num }}.","template_file":null,"variables":{},"stakes":null,"thinking_method":null},"retry":{"max_retries":1,"base_delay_seconds":10.0,"max_delay_seconds":3600.0,"exponential_base":2.0,"jitter":true,"max_completion_attempts":3,"completion_delay_seconds":5.0,"completion_threshold_percent":50.0},"rate_limit":{"detection_patterns":["rate.?limit","usage.?limit","quota","too many requests","429","capacity","try again later"],"wait_minutes":60,"max_waits":24,"max_quota_waits":48},"circuit_breaker":null,"cost_limits":null,"stale_detection":{"enabled":false,"idle_timeout_seconds":300.0,"first_byte_seconds":null,"check_interval_seconds":30.0},"parallel":{"enabled":false,"max_concurrent":3,"fail_fast":true,"budget_partition":true},"cross_sheet":null,"feedback":null,"isolation":null,"workspace_lifecycle":{"archive_on_fresh":false,"archive_dir":"archive","archive_naming":"iteration","max_archives":0,"preserve_patterns":[".iteration",".mozart-*",".coverage","archive/**",".worktrees/**"]},"learning":null,"grounding":null,"checkpoints":null,"conductor":null,"concert":null,"ai_review":null,"logging":null,"validations":[],"notifications":[],"on_success":[],"on_failure_hooks":[],"bridge":null,"state_backend":"sqlite","state_path":null,"pause_between_sheets_seconds":0.0,"priority":0,"group":null}','{
 "name": "nocturne",
 "workspace": "@PLACE@/nocturne",
 "backend": {
  "type": "command",
  "command": [
   "sh",
   "-c",
   "sleep 1000"
  ]
 },
 "sheet": {
  "size": 1,
  "total_items": 1
 },
 "prompt": {
  "template": "Play sheet {{ sheet_num }}."
 },
 "retry": {
  "max_retries": 1
 },
 "pause_between_sheets_seconds": 0
}','{"PATH":"/usr/local/bin:/usr/bin:/bin","LANG":"C.UTF-8"}');
INSERT INTO "scores" VALUES(6,'{"name":"postlude","description":null,"workspace":"@PLACE@/postlude","backend":{"type":"command","command":["sh","-c","echo played"],"env":{},"skip_permissions":true,"disable_mcp":true,"output_format":"stream-json","cli_model":null,"model":"claude-sonnet-4-20250514","allowed_tools":null,"system_prompt_file":null,"working_directory":null,"timeout_seconds":1800.0,"timeout_overrides":{},"cli_extra_args":[],"max_output_capture_bytes":10240,"resume_session":"auto","pty":false,"profile":null,"api_key_env":"ANTHROPIC_API_KEY","max_tokens":8192,"temperature":0.7,"ollama":{"base_url":"http://localhost:11434","model":"llama3.1:8b","num_ctx":32768,"dynamic_tools":true,"compression_level":"moderate","timeout_seconds":300.0,"keep_alive":"5m","max_tool_iterations":10,"health_check_timeout":10.0},"recursive_light":{"endpoint":"http://localhost:8080","user_id":null,"timeout":30.0},"fallbacks":[]},"sheet":{"size":1,"total_items":1,"start_item":1,"dependencies":{},"fan_out":{},"fan_out_stage_map":null,"skip_when":{},"skip_when_command":{},"backends":{}},"prompt":{"template":"Play sheet {{ sheet_num }}.","template_file":null,"variables":{},"stakes":null,"thinking_method":null},"retry":{"max_retries":1,"base_delay_seconds":10.0,"max_delay_seconds":3600.0,"exponential_base":2.0,"jitter":true,"max_completion_attempts":3,"completion_delay_seconds":5.0,"completion_threshold_percent":50.0},"rate_limit":{"detection_patterns":["rate.?limit","usage.?limit","quota","too many requests","429","capacity","try again later"],"wait_minutes":60,"max_waits":24,"max_quota_waits":48},"circuit_breaker":null,"cost_limits":null,"stale_detection":{"enabled":false,"idle_timeout_seconds":300.0,"first_byte_seconds":null,"check_interval_seconds":30.0},"parallel":{"enabled":false,"max_concurrent":3,"fail_fast":true,"budget_partition":true},"cross_sheet":null,"feedback":null,"isolation":null,"workspace_lifecycle":{"archive_on_fresh":false,"archive_dir":"archive","archive_naming":"iteration","max_archives":0,"preserve_patterns":[".iteration",".mozart-*",".coverage","archive/**",".worktrees/**"]},"learning":null,"grounding":null,"checkpoints":null,"conductor":null,"concert":null,"ai_review":null,"logging":null,"validations":[],"notifications":[],"on_success":[],"on_failure_hooks":[],"bridge":null,"state_backend":"sqlite","state_path":null,"pause_between_sheets_seconds":0.0,"priority":0,"group":null}','{
 "name": "postlude",
 "workspace": "@PLACE@/postlude",
 "backend": {
  "type": "command",
  "command": [
   "sh",
   "-c",
   "echo played"
  ]
 },
 "sheet": {
  "size": 1,
  "total_items": 1
 },
 "prompt": {
  "template": "Play sheet {{ sheet_num }}."
 },
 "retry": {
  "max_retries": 1
 },
 "pause_between_sheets_seconds": 0
}','{"PATH":"/usr/local/bin:/usr/bin:/bin","LANG":"C.UTF-8"}');
CREATE TABLE sheets (
    seq INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    n INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    instance INTEGER NOT NULL,
    fan_count INTEGER NOT NULL,
    start_item INTEGER NOT NULL,
    end_item INTEGER NOT NULL,
    dependencies TEXT NOT NULL,      -- JSON [n, ...]
    scope TEXT NOT NULL,             -- whose limits it shares: backend/account/model
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    until REAL,
    k INTEGER NOT NULL,              -- attempts so far
    history TEXT NOT NULL,           -- JSON: retries, completions, waits, interruptions spent; mode and session of the next attempt
    last TEXT NOT NULL,              -- JSON of ipc.messages.LastAttempt, or 'null'
    cost_usd REAL,
    PRIMARY KEY (seq, n)
) STRICT, WITHOUT ROWID;
INSERT INTO "sheets" VALUES(1,1,1,1,1,1,1,'[]','command/default/default','completed','',NULL,1,'{"attempts":0,"completions":0,"waits":0,"interruptions":0,"mode":"normal","session_id":null,"used":{},"choice":0,"first":0,"passed_over":"","route":0,"complexity":"","stopping":""}','{"verdict":"ok","code":"","message":"","validations":[]}',NULL);
INSERT INTO "sheets" VALUES(1,2,2,1,1,2,2,'[]','command/default/default','completed','',NULL,1,'{"attempts":0,"completions":0,"waits":0,"interruptions":0,"mode":"normal","session_id":null,"used":{},"choice":0,"first":0,"passed_over":"","route":0,"complexity":"","stopping":""}','{"verdict":"ok","code":"","message":"","validations":[]}',NULL);
INSERT INTO "sheets" VALUES(2,1,1,1,1,1,1,'[]','command/default/default','failed','E009 it exited with 3',NULL,1,'{"attempts":1,"completions":0,"waits":0,"interruptions":0,"mode":"normal","session_id":null,"used":{},"choice":0,"first":0,"passed_over":"","route":0,"complexity":"","stopping":""}','{"verdict":"failed","code":"E009","message":"it exited with 3","validations":[]}',NULL);
INSERT INTO "sheets" VALUES(3,1,1,1,1,1,1,'[]','command/default/default','cancelled','cancelled',NULL,1,'{"attempts":0,"completions":0,"waits":0,"interruptions":0,"mode":"normal","session_id":null,"used":{},"choice":0,"first":0,"passed_over":"","route":0,"complexity":"","stopping":""}','null',NULL);
INSERT INTO "sheets" VALUES(4,1,1,1,1,1,1,'[]','command/default/default','completed','',NULL,1,'{"attempts":0,"completions":0,"waits":0,"interruptions":0,"mode":"normal","session_id":null,"used":{},"choice":0,"first":0,"passed_over":"","route":0,"complexity":"","stopping":""}','{"verdict":"ok","code":"","message":"","validations":[]}',NULL);
INSERT INTO "sheets" VALUES(4,2,2,1,1,2,2,'[]','command/default/default','running','',NULL,1,'{"attempts":0,"completions":0,"waits":0,"interruptions":0,"mode":"normal","session_id":null,"used":{},"choice":0,"first":0,"passed_over":"","route":0,"complexity":"","stopping":""}','null',NULL);
INSERT INTO "sheets" VALUES(4,3,3,1,1,3,3,'[]','command/default/default','pending','',NULL,0,'{"attempts":0,"completions":0,"waits":0,"interruptions":0,"mode":"normal","session_id":null,"used":{},"choice":0,"first":0,"passed_over":"","route":0,"complexity":"","stopping":""}','null',NULL);
INSERT INTO "sheets" VALUES(5,1,1,1,1,1,1,'[]','command/default/default','pending','pause',NULL,1,'{"attempts":0,"completions":0,"waits":0,"interruptions":0,"mode":"normal","session_id":null,"used":{},"choice":0,"first":0,"passed_over":"","route":0,"complexity":"","stopping":""}','null',NULL);
INSERT INTO "sheets" VALUES(6,1,1,1,1,1,1,'[]','command/default/default','pending','',NULL,0,'{"attempts":0,"completions":0,"waits":0,"interruptions":0,"mode":"normal","session_id":null,"used":{},"choice":0,"first":0,"passed_over":"","route":0,"complexity":"","stopping":""}','null',NULL);
CREATE TABLE spending (
    scope TEXT PRIMARY KEY,
    day TEXT NOT NULL,
    usd REAL NOT NULL,
    tokens INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "spending" VALUES('*','2025-11-23',1.25,123456);
CREATE INDEX jobs_by_state ON jobs (state);
CREATE INDEX jobs_by_name ON jobs (name, seq);
CREATE INDEX attempts_running ON attempts (state) WHERE state = 'running';
CREATE INDEX events_by_job ON events (job, id);
CREATE INDEX answers_by_time ON answers (at);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',45);
INSERT INTO "sqlite_sequence" VALUES('jobs',6);
COMMIT;
PRAGMA user_version = 5;

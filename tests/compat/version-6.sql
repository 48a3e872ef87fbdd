BEGIN TRANSACTION;
CREATE TABLE answers (
    key TEXT PRIMARY KEY,
    at REAL NOT NULL,
    answer TEXT NOT NULL             -- JSON
) STRICT, WITHOUT ROWID;
INSERT INTO "answers" VALUES('27caecda0889edf5f00f5d3009bc730b',1.79613253196576905246e+09,'{"job":"gavotte-3","sheets":[1]}');
INSERT INTO "answers" VALUES('31cc66b041ebd5ed4dd3400b6cf6d350',1.79613253182094216348e+09,'{"job":"gavotte-3"}');
INSERT INTO "answers" VALUES('96f6ffed2b2506fd07f1a868d47314a3',1.79613253284960317605e+09,'{"job":"nocturne-5"}');
INSERT INTO "answers" VALUES('97debe7994e9aa3d556776aa4405f1f9',1.79613253236009240152e+09,'{"job":"sonata-4"}');
INSERT INTO "answers" VALUES('ba0035253c1837a798dbe9a0bf655df8',1.79613253249650311471e+09,'{"groups":[{"name":"loud","parallel":2,"running":0,"unsaved":false}]}');
INSERT INTO "answers" VALUES('d6af11faf8d176bfd061263eead320f3',1.79613253334465384483e+09,'{"job":"postlude-6"}');
INSERT INTO "answers" VALUES('dc5e14eab1ba3a2a2ba1ae5a03ba504e',1.79613253119469857221e+09,'{"job":"fugue-2"}');
INSERT INTO "answers" VALUES('e1ea1a9732421d5690ae9e2347127462',1.79613253299688649172e+09,'{"job":"nocturne-5","sheets":[1]}');
INSERT INTO "answers" VALUES('e9ba244cc65f2d17b471098a78a20b4a',1.79613253076896762843e+09,'{"job":"etude-1"}');
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
INSERT INTO "attempts" VALUES(1,1,1,'ended','normal','1a231d767af-2-3',1.79613253077280807497e+09,'{"backend":"command","choice":0,"backend_reason":"","agent_pid":28265,"started_at":1796132530.7934146,"worker_pid":28254,"verdict":"ok","code":"","message":"","hint":"","evidence":"","exit_code":0,"signal":null,"ended_at":1796132530.7979333,"bytes":7,"lines":1,"tail":"played\n","cost_usd":null,"tokens":null,"session_id":null,"model":null,"validations":[],"captured":{},"survivors":0,"log_bytes":47,"scope":"command/0efeaf5e/default"}');
INSERT INTO "attempts" VALUES(1,2,1,'ended','normal','1a231d767af-2-3',1.79613253079869246483e+09,'{"backend":"command","choice":0,"backend_reason":"","agent_pid":28267,"started_at":1796132530.802324,"worker_pid":28254,"verdict":"ok","code":"","message":"","hint":"","evidence":"","exit_code":0,"signal":null,"ended_at":1796132530.80543,"bytes":7,"lines":1,"tail":"played\n","cost_usd":null,"tokens":null,"session_id":null,"model":null,"validations":[],"captured":{},"survivors":0,"log_bytes":47,"scope":"command/0efeaf5e/default"}');
INSERT INTO "attempts" VALUES(2,1,1,'ended','normal','1a231d767af-2-3',1.79613253120024561884e+09,'{"backend":"command","choice":0,"backend_reason":"","agent_pid":28269,"started_at":1796132531.2068038,"worker_pid":28254,"verdict":"failed","code":"E009","message":"it exited with 3","hint":"its log says what it did before","evidence":"wrong","exit_code":3,"signal":null,"ended_at":1796132531.2130618,"bytes":6,"lines":1,"tail":"","cost_usd":null,"tokens":null,"session_id":null,"model":null,"validations":[],"captured":{},"survivors":0,"log_bytes":46,"scope":"command/0ba8127c/default"}');
INSERT INTO "attempts" VALUES(3,1,1,'ended','normal','1a231d767af-2-3',1.79613253182300853724e+09,'{"backend":"command","choice":0,"backend_reason":"","agent_pid":28271,"started_at":1796132531.8273034,"worker_pid":28254,"verdict":"cancelled","code":"E004","message":"it was cancelled","hint":"mozart retry, or resume, runs it again","evidence":"","exit_code":null,"signal":15,"ended_at":1796132531.9714634,"bytes":0,"lines":0,"tail":"","cost_usd":null,"tokens":null,"session_id":null,"model":null,"validations":[],"captured":{},"survivors":0,"log_bytes":0,"scope":"command/4bc9af52/default"}');
INSERT INTO "attempts" VALUES(4,1,1,'ended','normal','1a231d767af-2-3',1.79613253236201238626e+09,'{"backend":"command","choice":0,"backend_reason":"","agent_pid":28275,"started_at":1796132532.3669872,"worker_pid":28254,"verdict":"ok","code":"","message":"","hint":"","evidence":"","exit_code":0,"signal":null,"ended_at":1796132532.3706698,"bytes":7,"lines":1,"tail":"played\n","cost_usd":null,"tokens":null,"session_id":null,"model":null,"validations":[],"captured":{},"survivors":0,"log_bytes":47,"scope":"command/da5c0f90/default"}');
INSERT INTO "attempts" VALUES(4,2,1,'running','normal','1a231d767af-2-3',1.7961325323712024689e+09,'{"backend":"command","choice":0,"backend_reason":"","agent_pid":28276,"started_at":1796132532.3752258,"worker_pid":28254,"scope":"command/da5c0f90/default"}');
INSERT INTO "attempts" VALUES(5,1,1,'ended','normal','1a231d767af-1-2',1.79613253285154533386e+09,'{"backend":"command","choice":0,"backend_reason":"","agent_pid":28284,"started_at":1796132532.8672345,"worker_pid":28253,"verdict":"cancelled","code":"E004","message":"its job was paused","hint":"mozart retry, or resume, runs it again","evidence":"","exit_code":null,"signal":15,"ended_at":1796132532.9999228,"bytes":0,"lines":0,"tail":"","cost_usd":null,"tokens":null,"session_id":null,"model":null,"validations":[],"captured":{},"survivors":0,"log_bytes":0,"scope":"command/4bc9af52/default"}');
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    type TEXT NOT NULL,
    job TEXT,
    sheet INTEGER,
    attempt INTEGER,
    data TEXT NOT NULL
) STRICT;
INSERT INTO "events" VALUES(1,1.79613253017225146289e+09,'daemon.started',NULL,NULL,NULL,'{"pid":28252,"restarts":0}');
INSERT INTO "events" VALUES(2,1.79613253077129340169e+09,'job.queued','etude-1',NULL,NULL,'{"name":"etude","sheets":2,"by":"root"}');
INSERT INTO "events" VALUES(3,1.79613253077280807497e+09,'job.running','etude-1',NULL,NULL,'{"reason":""}');
INSERT INTO "events" VALUES(4,1.79613253077280807497e+09,'sheet.running','etude-1',1,1,'{"reason":"","until":null,"mode":"normal"}');
INSERT INTO "events" VALUES(5,1.79613253079375791545e+09,'attempt.started','etude-1',1,1,'{"mode":"normal","backend":"command"}');
INSERT INTO "events" VALUES(6,1.79613253079826426508e+09,'attempt.finished','etude-1',1,1,'{"mode":"normal","backend":"command","seconds":0.004518747329711914,"validations":[],"verdict":"ok","code":"","message":"","hint":"","evidence":"","exit_code":0,"signal":null,"cost_usd":null,"model":null,"tokens":null,"survivors":0}');
INSERT INTO "events" VALUES(7,1.79613253079826426508e+09,'sheet.completed','etude-1',1,1,'{"reason":"","until":null}');
INSERT INTO "events" VALUES(8,1.79613253079869246483e+09,'sheet.running','etude-1',2,1,'{"reason":"","until":null,"mode":"normal"}');
INSERT INTO "events" VALUES(9,1.79613253080249571803e+09,'attempt.started','etude-1',2,1,'{"mode":"normal","backend":"command"}');
INSERT INTO "events" VALUES(10,1.79613253080575466158e+09,'attempt.finished','etude-1',2,1,'{"mode":"normal","backend":"command","seconds":0.0031058788299560547,"validations":[],"verdict":"ok","code":"","message":"","hint":"","evidence":"","exit_code":0,"signal":null,"cost_usd":null,"model":null,"tokens":null,"survivors":0}');
INSERT INTO "events" VALUES(11,1.79613253080575466158e+09,'sheet.completed','etude-1',2,1,'{"reason":"","until":null}');
INSERT INTO "events" VALUES(12,1.79613253080575466158e+09,'job.completed','etude-1',NULL,NULL,'{"reason":""}');
INSERT INTO "events" VALUES(13,1.79613253119586849214e+09,'job.queued','fugue-2',NULL,NULL,'{"name":"fugue","sheets":1,"by":"root"}');
INSERT INTO "events" VALUES(14,1.79613253120024561884e+09,'job.running','fugue-2',NULL,NULL,'{"reason":""}');
INSERT INTO "events" VALUES(15,1.79613253120024561884e+09,'sheet.running','fugue-2',1,1,'{"reason":"","until":null,"mode":"normal"}');
INSERT INTO "events" VALUES(16,1.79613253120701432232e+09,'attempt.started','fugue-2',1,1,'{"mode":"normal","backend":"command"}');
INSERT INTO "events" VALUES(17,1.79613253121344876284e+09,'attempt.finished','fugue-2',1,1,'{"mode":"normal","backend":"command","seconds":0.0062580108642578125,"validations":[],"verdict":"failed","code":"E009","message":"it exited with 3","hint":"its log says what it did before","evidence":"wrong","exit_code":3,"signal":null,"cost_usd":null,"model":null,"tokens":null,"survivors":0}');
INSERT INTO "events" VALUES(18,1.79613253121344876284e+09,'sheet.failed','fugue-2',1,1,'{"reason":"E009 it exited with 3","until":null,"code":"E009","hint":"its log says what it did before"}');
INSERT INTO "events" VALUES(19,1.79613253121344876284e+09,'job.failed','fugue-2',NULL,NULL,'{"reason":"sheet 1 failed: E009 it exited with 3"}');
INSERT INTO "events" VALUES(20,1.79613253182183623315e+09,'job.queued','gavotte-3',NULL,NULL,'{"name":"gavotte","sheets":1,"by":"root"}');
INSERT INTO "events" VALUES(21,1.79613253182300853724e+09,'job.running','gavotte-3',NULL,NULL,'{"reason":""}');
INSERT INTO "events" VALUES(22,1.79613253182300853724e+09,'sheet.running','gavotte-3',1,1,'{"reason":"","until":null,"mode":"normal"}');
INSERT INTO "events" VALUES(23,1796132531.82745,'attempt.started','gavotte-3',1,1,'{"mode":"normal","backend":"command"}');
INSERT INTO "events" VALUES(24,1.79613253196525382996e+09,'asked.cancel','gavotte-3',NULL,NULL,'{"by":"root","sheets":[]}');
INSERT INTO "events" VALUES(25,1.79613253197223520277e+09,'attempt.finished','gavotte-3',1,1,'{"mode":"normal","backend":"command","seconds":0.14416003227233887,"validations":[],"verdict":"cancelled","code":"E004","message":"it was cancelled","hint":"mozart retry, or resume, runs it again","evidence":"","exit_code":null,"signal":15,"cost_usd":null,"model":null,"tokens":null,"survivors":0}');
INSERT INTO "events" VALUES(26,1.79613253197223520277e+09,'sheet.cancelled','gavotte-3',1,1,'{"reason":"cancelled","until":null}');
INSERT INTO "events" VALUES(27,1.79613253197223520277e+09,'job.cancelled','gavotte-3',NULL,NULL,'{"reason":"cancelled"}');
INSERT INTO "events" VALUES(28,1.796132532360830307e+09,'job.queued','sonata-4',NULL,NULL,'{"name":"sonata","sheets":3,"by":"root"}');
INSERT INTO "events" VALUES(29,1.79613253236201238626e+09,'job.running','sonata-4',NULL,NULL,'{"reason":""}');
INSERT INTO "events" VALUES(30,1.79613253236201238626e+09,'sheet.running','sonata-4',1,1,'{"reason":"","until":null,"mode":"normal"}');
INSERT INTO "events" VALUES(31,1.79613253236717891692e+09,'attempt.started','sonata-4',1,1,'{"mode":"normal","backend":"command"}');
INSERT INTO "events" VALUES(32,1.79613253237091898915e+09,'attempt.finished','sonata-4',1,1,'{"mode":"normal","backend":"command","seconds":0.0036826133728027344,"validations":[],"verdict":"ok","code":"","message":"","hint":"","evidence":"","exit_code":0,"signal":null,"cost_usd":null,"model":null,"tokens":null,"survivors":0}');
INSERT INTO "events" VALUES(33,1.79613253237091898915e+09,'sheet.completed','sonata-4',1,1,'{"reason":"","until":null}');
INSERT INTO "events" VALUES(34,1.7961325323712024689e+09,'sheet.running','sonata-4',2,1,'{"reason":"","until":null,"mode":"normal"}');
INSERT INTO "events" VALUES(35,1.79613253237540626528e+09,'attempt.started','sonata-4',2,1,'{"mode":"normal","backend":"command"}');
INSERT INTO "events" VALUES(36,1.79613253249641537665e+09,'asked.group',NULL,NULL,NULL,'{"by":"root","group":"loud","parallel":2}');
INSERT INTO "events" VALUES(37,1.79613253285029244427e+09,'job.queued','nocturne-5',NULL,NULL,'{"name":"nocturne","sheets":1,"by":"root"}');
INSERT INTO "events" VALUES(38,1.79613253285154533386e+09,'job.running','nocturne-5',NULL,NULL,'{"reason":""}');
INSERT INTO "events" VALUES(39,1.79613253285154533386e+09,'sheet.running','nocturne-5',1,1,'{"reason":"","until":null,"mode":"normal"}');
INSERT INTO "events" VALUES(40,1.79613253286751198764e+09,'attempt.started','nocturne-5',1,1,'{"mode":"normal","backend":"command"}');
INSERT INTO "events" VALUES(41,1.7961325329967832565e+09,'asked.pause','nocturne-5',NULL,NULL,'{"by":"root","now":true}');
INSERT INTO "events" VALUES(42,1.7961325329967832565e+09,'job.paused','nocturne-5',NULL,NULL,'{"reason":"paused by hand"}');
INSERT INTO "events" VALUES(43,1.79613253300031042091e+09,'attempt.finished','nocturne-5',1,1,'{"mode":"normal","backend":"command","seconds":0.13268828392028809,"validations":[],"verdict":"cancelled","code":"E004","message":"its job was paused","hint":"mozart retry, or resume, runs it again","evidence":"","exit_code":null,"signal":15,"cost_usd":null,"model":null,"tokens":null,"survivors":0}');
INSERT INTO "events" VALUES(44,1.79613253300031042091e+09,'sheet.pending','nocturne-5',1,1,'{"reason":"its job was paused","until":null}');
INSERT INTO "events" VALUES(45,1.79613253334552288057e+09,'job.queued','postlude-6',NULL,NULL,'{"name":"postlude","sheets":1,"by":"root"}');
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
, after_job TEXT NOT NULL DEFAULT '', place REAL NOT NULL DEFAULT 0, ran_seconds REAL NOT NULL DEFAULT 0, ran_since REAL) STRICT;
INSERT INTO "jobs" VALUES(1,'etude-1','etude','completed','','','@PLACE@/etude.yaml','@PLACE@/etude',0,'',1.79613253076179480555e+09,1.79613253077280807497e+09,1.79613253080575466158e+09,1.79613253080575466158e+09,'{"completed":2}',NULL,'{}','{"max_concurrent":1,"fail_fast":true,"pause_seconds":0.0,"full_attempts":1,"base_delay":10.0,"max_delay":3600.0,"exponential_base":2.0,"jitter":true,"max_completions":3,"completion_delay":5.0,"completion_threshold":50.0,"limit_wait":3600.0,"max_waits":24,"breaker":true,"breaker_threshold":5,"breaker_recovery":300.0,"max_quota_waits":48,"max_cost_sheet":null,"max_cost_job":null,"cost_per_1k_input":null,"cost_per_1k_output":null,"warn_at_percent":80.0,"on_reached":"finish","skip_when":{},"choices":{},"workspace_lock":"","real_workspace":"@PLACE@/etude"}','',0.0,3.25183868408203125e-02,NULL);
INSERT INTO "jobs" VALUES(2,'fugue-2','fugue','failed','sheet 1 failed: E009 it exited with 3','','@PLACE@/fugue.yaml','@PLACE@/fugue',0,'',1.79613253119369530681e+09,1.79613253120024561884e+09,1.79613253121344876284e+09,1.79613253121344876284e+09,'{"failed":1}',NULL,'{}','{"max_concurrent":1,"fail_fast":true,"pause_seconds":0.0,"full_attempts":1,"base_delay":10.0,"max_delay":3600.0,"exponential_base":2.0,"jitter":true,"max_completions":3,"completion_delay":5.0,"completion_threshold":50.0,"limit_wait":3600.0,"max_waits":24,"breaker":true,"breaker_threshold":5,"breaker_recovery":300.0,"max_quota_waits":48,"max_cost_sheet":null,"max_cost_job":null,"cost_per_1k_input":null,"cost_per_1k_output":null,"warn_at_percent":80.0,"on_reached":"finish","skip_when":{},"choices":{},"workspace_lock":"","real_workspace":"@PLACE@/fugue"}','',0.0,1.3203144073486328125e-02,NULL);
INSERT INTO "jobs" VALUES(3,'gavotte-3','gavotte','cancelled','cancelled','','@PLACE@/gavotte.yaml','@PLACE@/gavotte',0,'',1.79613253182039356225e+09,1.79613253182300853724e+09,1.79613253197223520277e+09,1.79613253197223520277e+09,'{"cancelled":1}',NULL,'{}','{"max_concurrent":1,"fail_fast":true,"pause_seconds":0.0,"full_attempts":1,"base_delay":10.0,"max_delay":3600.0,"exponential_base":2.0,"jitter":true,"max_completions":3,"completion_delay":5.0,"completion_threshold":50.0,"limit_wait":3600.0,"max_waits":24,"breaker":true,"breaker_threshold":5,"breaker_recovery":300.0,"max_quota_waits":48,"max_cost_sheet":null,"max_cost_job":null,"cost_per_1k_input":null,"cost_per_1k_output":null,"warn_at_percent":80.0,"on_reached":"finish","skip_when":{},"choices":{},"workspace_lock":"","real_workspace":"@PLACE@/gavotte"}','',0.0,1.49226665496826171875e-01,NULL);
INSERT INTO "jobs" VALUES(4,'sonata-4','sonata','running','','','@PLACE@/sonata.yaml','@PLACE@/sonata',0,'',1.7961325323592710495e+09,1.79613253236201238626e+09,NULL,1.79613253237091898915e+09,'{"pending":1,"running":1,"completed":1}',NULL,'{}','{"max_concurrent":1,"fail_fast":true,"pause_seconds":0.0,"full_attempts":1,"base_delay":10.0,"max_delay":3600.0,"exponential_base":2.0,"jitter":true,"max_completions":3,"completion_delay":5.0,"completion_threshold":50.0,"limit_wait":3600.0,"max_waits":24,"breaker":true,"breaker_threshold":5,"breaker_recovery":300.0,"max_quota_waits":48,"max_cost_sheet":null,"max_cost_job":null,"cost_per_1k_input":null,"cost_per_1k_output":null,"warn_at_percent":80.0,"on_reached":"finish","skip_when":{},"choices":{},"workspace_lock":"","real_workspace":"@PLACE@/sonata"}','',0.0,0.00890660285949707,1.7961325323712024689e+09);
INSERT INTO "jobs" VALUES(5,'nocturne-5','nocturne','paused','paused by hand','','@PLACE@/nocturne.yaml','@PLACE@/nocturne',0,'loud',1.79613253284895157818e+09,1.79613253285154533386e+09,NULL,0.0,'{"pending":1}',NULL,'{}','{"max_concurrent":1,"fail_fast":true,"pause_seconds":0.0,"full_attempts":1,"base_delay":10.0,"max_delay":3600.0,"exponential_base":2.0,"jitter":true,"max_completions":3,"completion_delay":5.0,"completion_threshold":50.0,"limit_wait":3600.0,"max_waits":24,"breaker":true,"breaker_threshold":5,"breaker_recovery":300.0,"max_quota_waits":48,"max_cost_sheet":null,"max_cost_job":null,"cost_per_1k_input":null,"cost_per_1k_output":null,"warn_at_percent":80.0,"on_reached":"finish","skip_when":{},"choices":{},"workspace_lock":"","real_workspace":"@PLACE@/nocturne"}','',0.0,1.48765087127685546875e-01,NULL);
INSERT INTO "jobs" VALUES(6,'postlude-6','postlude','queued','','','@PLACE@/postlude.yaml','@PLACE@/postlude',0,'',1.79613253334389877313e+09,NULL,NULL,0.0,'{"pending":1}',NULL,'{}','{"max_concurrent":1,"fail_fast":true,"pause_seconds":0.0,"full_attempts":1,"base_delay":10.0,"max_delay":3600.0,"exponential_base":2.0,"jitter":true,"max_completions":3,"completion_delay":5.0,"completion_threshold":50.0,"limit_wait":3600.0,"max_waits":24,"breaker":true,"breaker_threshold":5,"breaker_recovery":300.0,"max_quota_waits":48,"max_cost_sheet":null,"max_cost_job":null,"cost_per_1k_input":null,"cost_per_1k_output":null,"warn_at_percent":80.0,"on_reached":"finish","skip_when":{},"choices":{},"workspace_lock":"","real_workspace":"@PLACE@/postlude"}','sonata-4',0.0,0.0,NULL);
CREATE TABLE scores (
    seq INTEGER PRIMARY KEY REFERENCES jobs (seq) ON DELETE CASCADE,
    score TEXT NOT NULL,             -- the normalised score, JSON
    source TEXT NOT NULL,            -- what the user wrote
    environment TEXT NOT NULL        -- JSON: the submitter's variables named by submit_env
) STRICT;
INSERT INTO "scores" VALUES(1,'{"name":"etude","description":null,"workspace":"@PLACE@/etude","workspace_lock":null,"backend":{"type":"command","command":["sh","-c","echo played"],"prompt_is":null,"env":{},"skip_permissions":true,"disable_mcp":true,"output_format":"stream-json","cli_model":null,"model":"claude-sonnet-4-20250514","allowed_tools":null,"system_prompt_file":null,"system_prompt_text":null,"working_directory":null,"timeout_seconds":1800.0,"timeout_overrides":{},"cli_extra_args":[],"max_output_capture_bytes":10240,"resume_session":"auto","pty":false,"account":null,"profile":null,"api_key_env":"ANTHROPIC_API_KEY","max_tokens":8192,"temperature":0.7,"ollama":{"base_url":"http://localhost:11434","model":"llama3.1:8b","num_ctx":32768,"dynamic_tools":true,"compression_level":"moderate","timeout_seconds":300.0,"keep_alive":"5m","max_tool_iterations":10,"health_check_timeout":10.0},"recursive_light":{"endpoint":"http://localhost:8080","user_id":null,"timeout":30.0},"fallbacks":[]},"sheet":{"size":1,"total_items":2,"start_item":1,"dependencies":null,"fan_out":{},"fan_out_stage_map":null,"skip_when":{},"skip_when_command":{},"backends":{}},"prompt":{"template":"Play sheet {{ sheet_num }}.","template_file":null,"includes":{},"variables":{},"stakes":null,"thinking_method":null,"given":[]},"retry":{"max_retries":1,"base_delay_seconds":10.0,"max_delay_seconds":3600.0,"exponential_base":2.0,"jitter":true,"max_completion_attempts":3,"completion_delay_seconds":5.0,"completion_threshold_percent":50.0},"rate_limit":{"detection_patterns":["rate.?limit","usage.?limit","quota","too many requests","429","capacity","try again later"],"wait_minutes":60,"max_waits":24,"max_quota_waits":48},"circuit_breaker":null,"cost_limits":null,"stale_detection":null,"parallel":{"enabled":false,"max_concurrent":3,"fail_fast":true,"budget_partition":true},"cross_sheet":null,"feedback":null,"isolation":null,"workspace_lifecycle":{"archive_on_fresh":false,"archive_dir":"archive","archive_naming":"iteration","max_archives":0,"preserve_patterns":[".iteration",".mozart-*",".coverage","archive/**",".worktrees/**"]},"learning":null,"grounding":null,"checkpoints":null,"conductor":null,"concert":null,"ai_review":null,"logging":null,"validations":[],"notifications":[],"on_success":[],"on_failure_hooks":[],"bridge":null,"state_backend":"sqlite","state_path":null,"pause_between_sheets_seconds":0.0,"priority":0,"group":null}','{
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
INSERT INTO "scores" VALUES(2,'{"name":"fugue","description":null,"workspace":"@PLACE@/fugue","workspace_lock":null,"backend":{"type":"command","command":["sh","-c","echo wrong >&2; exit 3"],"prompt_is":null,"env":{},"skip_permissions":true,"disable_mcp":true,"output_format":"stream-json","cli_model":null,"model":"claude-sonnet-4-20250514","allowed_tools":null,"system_prompt_file":null,"system_prompt_text":null,"working_directory":null,"timeout_seconds":1800.0,"timeout_overrides":{},"cli_extra_args":[],"max_output_capture_bytes":10240,"resume_session":"auto","pty":false,"account":null,"profile":null,"api_key_env":"ANTHROPIC_API_KEY","max_tokens":8192,"temperature":0.7,"ollama":{"base_url":"http://localhost:11434","model":"llama3.1:8b","num_ctx":32768,"dynamic_tools":true,"compression_level":"moderate","timeout_seconds":300.0,"keep_alive":"5m","max_tool_iterations":10,"health_check_timeout":10.0},"recursive_light":{"endpoint":"http://localhost:8080","user_id":null,"timeout":30.0},"fallbacks":[]},"sheet":{"size":1,"total_items":1,"start_item":1,"dependencies":null,"fan_out":{},"fan_out_stage_map":null,"skip_when":{},"skip_when_command":{},"backends":{}},"prompt":{"template":"Play sheet {{ sheet_num }}.","template_file":null,"includes":{},"variables":{},"stakes":null,"thinking_method":null,"given":[]},"retry":{"max_retries":1,"base_delay_seconds":10.0,"max_delay_seconds":3600.0,"exponential_base":2.0,"jitter":true,"max_completion_attempts":3,"completion_delay_seconds":5.0,"completion_threshold_percent":50.0},"rate_limit":{"detection_patterns":["rate.?limit","usage.?limit","quota","too many requests","429","capacity","try again later"],"wait_minutes":60,"max_waits":24,"max_quota_waits":48},"circuit_breaker":null,"cost_limits":null,"stale_detection":null,"parallel":{"enabled":false,"max_concurrent":3,"fail_fast":true,"budget_partition":true},"cross_sheet":null,"feedback":null,"isolation":null,"workspace_lifecycle":{"archive_on_fresh":false,"archive_dir":"archive","archive_naming":"iteration","max_archives":0,"preserve_patterns":[".iteration",".mozart-*",".coverage","archive/**",".worktrees/**"]},"learning":null,"grounding":null,"checkpoints":null,"conductor":null,"concert":null,"ai_review":null,"logging":null,"validations":[],"notifications":[],"on_success":[],"on_failure_hooks":[],"bridge":null,"state_backend":"sqlite","state_path":null,"pause_between_sheets_seconds":0.0,"priority":0,"group":null}','{
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
INSERT INTO "scores" VALUES(3,'{"name":"gavotte","description":null,"workspace":"@PLACE@/gavotte","workspace_lock":null,"backend":{"type":"command","command":["sh","-c","sleep 1000"],"prompt_is":null,"env":{},"skip_permissions":true,"disable_mcp":true,"output_format":"stream-json","cli_model":null,"model":"claude-sonnet-4-20250514","allowed_tools":null,"system_prompt_file":null,"system_prompt_text":null,"working_directory":null,"timeout_seconds":1800.0,"timeout_overrides":{},"cli_extra_args":[],"max_output_capture_bytes":10240,"resume_session":"auto","pty":false,"account":null,"profile":null,"api_key_env":"ANTHROPIC_API_KEY","max_tokens":8192,"temperature":0.7,"ollama":{"base_url":"http://localhost:11434","model":"llama3.1:8b","num_ctx":32768,"dynamic_tools":true,"compression_level":"moderate","timeout_seconds":300.0,"keep_alive":"5m","max_tool_iterations":10,"health_check_timeout":10.0},"recursive_light":{"endpoint":"http://localhost:8080","user_id":null,"timeout":30.0},"fallbacks":[]},"sheet":{"size":1,"total_items":1,"start_item":1,"dependencies":null,"fan_out":{},"fan_out_stage_map":null,"skip_when":{},"skip_when_command":{},"backends":{}},"prompt":{"template":"Play sheet {{ sheet_num }}.","template_file":null,"includes":{},"variables":{},"stakes":null,"thinking_method":null,"given":[]},"retry":{"max_retries":1,"base_delay_seconds":10.0,"max_delay_seconds":3600.0,"exponential_base":2.0,"jitter":true,"max_completion_attempts":3,"completion_delay_seconds":5.0,"completion_threshold_percent":50.0},"rate_limit":{"detection_patterns":["rate.?limit","usage.?limit","quota","too many requests","429","capacity","try again later"],"wait_minutes":60,"max_waits":24,"max_quota_waits":48},"circuit_breaker":null,"cost_limits":null,"stale_detection":null,"parallel":{"enabled":false,"max_concurrent":3,"fail_fast":true,"budget_partition":true},"cross_sheet":null,"feedback":null,"isolation":null,"workspace_lifecycle":{"archive_on_fresh":false,"archive_dir":"archive","archive_naming":"iteration","max_archives":0,"preserve_patterns":[".iteration",".mozart-*",".coverage","archive/**",".worktrees/**"]},"learning":null,"grounding":null,"checkpoints":null,"conductor":null,"concert":null,"ai_review":null,"logging":null,"validations":[],"notifications":[],"on_success":[],"on_failure_hooks":[],"bridge":null,"state_backend":"sqlite","state_path":null,"pause_between_sheets_seconds":0.0,"priority":0,"group":null}','{
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
INSERT INTO "scores" VALUES(4,'{"name":"sonata","description":null,"workspace":"@PLACE@/sonata","workspace_lock":null,"backend":{"type":"command","command":["sh","-c","test \"$MOZART_SHEET\" != 2 || until test -e \"$MOZART_WORKSPACE/open\"; do sleep 0.1; done; echo played"],"prompt_is":null,"env":{},"skip_permissions":true,"disable_mcp":true,"output_format":"stream-json","cli_model":null,"model":"claude-sonnet-4-20250514","allowed_tools":null,"system_prompt_file":null,"system_prompt_text":null,"working_directory":null,"timeout_seconds":1800.0,"timeout_overrides":{},"cli_extra_args":[],"max_output_capture_bytes":10240,"resume_session":"auto","pty":false,"account":null,"profile":null,"api_key_env":"ANTHROPIC_API_KEY","max_tokens":8192,"temperature":0.7,"ollama":{"base_url":"http://localhost:11434","model":"llama3.1:8b","num_ctx":32768,"dynamic_tools":true,"compression_level":"moderate","timeout_seconds":300.0,"keep_alive":"5m","max_tool_iterations":10,"health_check_timeout":10.0},"recursive_light":{"endpoint":"http://localhost:8080","user_id":null,"timeout":30.0},"fallbacks":[]},"sheet":{"size":1,"total_items":3,"start_item":1,"dependencies":null,"fan_out":{},"fan_out_stage_map":null,"skip_when":{},"skip_when_command":{},"backends":{}},"prompt":{"template":"Play sheet {{ sheet_num }}.","template_file":null,"includes":{},"variables":{},"stakes":null,"thinking_method":null,"given":[]},"retry":{"max_retries":1,"base_delay_seconds":10.0,"max_delay_seconds":3600.0,"exponential_base":2.0,"jitter":true,"max_completion_attempts":3,"completion_delay_seconds":5.0,"completion_threshold_percent":50.0},"rate_limit":{"detection_patterns":["rate.?limit","usage.?limit","quota","too many requests","429","capacity","try again later"],"wait_minutes":60,"max_waits":24,"max_quota_waits":48},"circuit_breaker":null,"cost_limits":null,"stale_detection":null,"parallel":{"enabled":false,"max_concurrent":3,"fail_fast":true,"budget_partition":true},"cross_sheet":null,"feedback":null,"isolation":null,"workspace_lifecycle":{"archive_on_fresh":false,"archive_dir":"archive","archive_naming":"iteration","max_archives":0,"preserve_patterns":[".iteration",".mozart-*",".coverage","archive/**",".worktrees/**"]},"learning":null,"grounding":null,"checkpoints":null,"conductor":null,"concert":null,"ai_review":null,"logging":null,"validations":[],"notifications":[],"on_success":[],"on_failure_hooks":[],"bridge":null,"state_backend":"sqlite","state_path":null,"pause_between_sheets_seconds":0.0,"priority":0,"group":null}','{
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
INSERT INTO "scores" VALUES(5,'{"name":"nocturne","description":null,"workspace":"@PLACE@/nocturne","workspace_lock":null,"backend":{"type":"command","command":["sh","-c","sleep 1000"],"prompt_is":null,"env":{},"skip_permissions":true,"disable_mcp":true,"output_format":"stream-json","cli_model":null,"model":"claude-sonnet-4-20250514","allowed_tools":null,"system_prompt_file":null,"system_prompt_text":null,"working_directory":null,"timeout_seconds":1800.0,"timeout_overrides":{},"cli_extra_args":[],"max_output_capture_bytes":10240,"resume_session":"auto","pty":false,"account":null,"profile":null,"api_key_env":"ANTHROPIC_API_KEY","max_tokens":8192,"temperature":0.7,"ollama":{"base_url":"http://localhost:11434","model":"llama3.1:8b","num_ctx":32768,"dynamic_tools":true,"compression_level":"moderate","timeout_seconds":300.0,"keep_alive":"5m","max_tool_iterations":10,"health_check_timeout":10.0},"recursive_light":{"endpoint":"http://localhost:8080","user_id":null,"timeout":30.0},"fallbacks":[]},"sheet":{"size":1,"total_items":1,"start_item":1,"dependencies":null,"fan_out":{},"fan_out_stage_map":null,"skip_when":{},"skip_when_command":{},"backends":{}},"prompt":{"template":"Play sheet {{ sheet_num }}.","template_file":null,"includes":{},"variables":{},"stakes":null,"thinking_method":null,"given":[]},"retry":{"max_retries":1,"base_delay_seconds":10.0,"max_delay_seconds":3600.0,"exponential_base":2.0,"jitter":true,"max_completion_attempts":3,"completion_delay_seconds":5.0,"completion_threshold_percent":50.0},"rate_limit":{"detection_patterns":["rate.?limit","usage.?limit","quota","too many requests","429","capacity","try again later"],"wait_minutes":60,"max_waits":24,"max_quota_waits":48},"circuit_breaker":null,"cost_limits":null,"stale_detection":null,"parallel":{"enabled":false,"max_concurrent":3,"fail_fast":true,"budget_partition":true},"cross_sheet":null,"feedback":null,"isolation":null,"workspace_lifecycle":{"archive_on_fresh":false,"archive_dir":"archive","archive_naming":"iteration","max_archives":0,"preserve_patterns":[".iteration",".mozart-*",".coverage","archive/**",".worktrees/**"]},"learning":null,"grounding":null,"checkpoints":null,"conductor":null,"concert":null,"ai_review":null,"logging":null,"validations":[],"notifications":[],"on_success":[],"on_failure_hooks":[],"bridge":null,"state_backend":"sqlite","state_path":null,"pause_between_sheets_seconds":0.0,"priority":0,"group":null}','{
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
INSERT INTO "scores" VALUES(6,'{"name":"postlude","description":null,"workspace":"@PLACE@/postlude","workspace_lock":null,"backend":{"type":"command","command":["sh","-c","echo played"],"prompt_is":null,"env":{},"skip_permissions":true,"disable_mcp":true,"output_format":"stream-json","cli_model":null,"model":"claude-sonnet-4-20250514","allowed_tools":null,"system_prompt_file":null,"system_prompt_text":null,"working_directory":null,"timeout_seconds":1800.0,"timeout_overrides":{},"cli_extra_args":[],"max_output_capture_bytes":10240,"resume_session":"auto","pty":false,"account":null,"profile":null,"api_key_env":"ANTHROPIC_API_KEY","max_tokens":8192,"temperature":0.7,"ollama":{"base_url":"http://localhost:11434","model":"llama3.1:8b","num_ctx":32768,"dynamic_tools":true,"compression_level":"moderate","timeout_seconds":300.0,"keep_alive":"5m","max_tool_iterations":10,"health_check_timeout":10.0},"recursive_light":{"endpoint":"http://localhost:8080","user_id":null,"timeout":30.0},"fallbacks":[]},"sheet":{"size":1,"total_items":1,"start_item":1,"dependencies":null,"fan_out":{},"fan_out_stage_map":null,"skip_when":{},"skip_when_command":{},"backends":{}},"prompt":{"template":"Play sheet {{ sheet_num }}.","template_file":null,"includes":{},"variables":{},"stakes":null,"thinking_method":null,"given":[]},"retry":{"max_retries":1,"base_delay_seconds":10.0,"max_delay_seconds":3600.0,"exponential_base":2.0,"jitter":true,"max_completion_attempts":3,"completion_delay_seconds":5.0,"completion_threshold_percent":50.0},"rate_limit":{"detection_patterns":["rate.?limit","usage.?limit","quota","too many requests","429","capacity","try again later"],"wait_minutes":60,"max_waits":24,"max_quota_waits":48},"circuit_breaker":null,"cost_limits":null,"stale_detection":null,"parallel":{"enabled":false,"max_concurrent":3,"fail_fast":true,"budget_partition":true},"cross_sheet":null,"feedback":null,"isolation":null,"workspace_lifecycle":{"archive_on_fresh":false,"archive_dir":"archive","archive_naming":"iteration","max_archives":0,"preserve_patterns":[".iteration",".mozart-*",".coverage","archive/**",".worktrees/**"]},"learning":null,"grounding":null,"checkpoints":null,"conductor":null,"concert":null,"ai_review":null,"logging":null,"validations":[],"notifications":[],"on_success":[],"on_failure_hooks":[],"bridge":null,"state_backend":"sqlite","state_path":null,"pause_between_sheets_seconds":0.0,"priority":0,"group":null}','{
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
INSERT INTO "sheets" VALUES(1,1,1,1,1,1,1,'[]','command/0efeaf5e/default','completed','',NULL,1,'{"attempts":0,"completions":0,"waits":0,"interruptions":0,"mode":"normal","session_id":null,"used":{},"choice":0,"first":0,"passed_over":"","route":0,"complexity":"","said":0.0,"no_room":0,"held":[],"stopping":""}','{"verdict":"ok","code":"","message":"","validations":[]}',NULL);
INSERT INTO "sheets" VALUES(1,2,2,1,1,2,2,'[1]','command/0efeaf5e/default','completed','',NULL,1,'{"attempts":0,"completions":0,"waits":0,"interruptions":0,"mode":"normal","session_id":null,"used":{},"choice":0,"first":0,"passed_over":"","route":0,"complexity":"","said":0.0,"no_room":0,"held":[],"stopping":""}','{"verdict":"ok","code":"","message":"","validations":[]}',NULL);
INSERT INTO "sheets" VALUES(2,1,1,1,1,1,1,'[]','command/0ba8127c/default','failed','E009 it exited with 3',NULL,1,'{"attempts":1,"completions":0,"waits":0,"interruptions":0,"mode":"normal","session_id":null,"used":{},"choice":0,"first":0,"passed_over":"","route":0,"complexity":"","said":0.0,"no_room":0,"held":[],"stopping":""}','{"verdict":"failed","code":"E009","message":"it exited with 3","validations":[]}',NULL);
INSERT INTO "sheets" VALUES(3,1,1,1,1,1,1,'[]','command/4bc9af52/default','cancelled','cancelled',NULL,1,'{"attempts":0,"completions":0,"waits":0,"interruptions":0,"mode":"normal","session_id":null,"used":{},"choice":0,"first":0,"passed_over":"","route":0,"complexity":"","said":0.0,"no_room":0,"held":[],"stopping":""}','null',NULL);
INSERT INTO "sheets" VALUES(4,1,1,1,1,1,1,'[]','command/da5c0f90/default','completed','',NULL,1,'{"attempts":0,"completions":0,"waits":0,"interruptions":0,"mode":"normal","session_id":null,"used":{},"choice":0,"first":0,"passed_over":"","route":0,"complexity":"","said":0.0,"no_room":0,"held":[],"stopping":""}','{"verdict":"ok","code":"","message":"","validations":[]}',NULL);
INSERT INTO "sheets" VALUES(4,2,2,1,1,2,2,'[1]','command/da5c0f90/default','running','',NULL,1,'{"attempts":0,"completions":0,"waits":0,"interruptions":0,"mode":"normal","session_id":null,"used":{},"choice":0,"first":0,"passed_over":"","route":0,"complexity":"","said":0.0,"no_room":0,"held":[],"stopping":""}','null',NULL);
INSERT INTO "sheets" VALUES(4,3,3,1,1,3,3,'[2]','command/da5c0f90/default','pending','',NULL,0,'{"attempts":0,"completions":0,"waits":0,"interruptions":0,"mode":"normal","session_id":null,"used":{},"choice":0,"first":0,"passed_over":"","route":0,"complexity":"","said":0.0,"no_room":0,"held":null,"stopping":""}','null',NULL);
INSERT INTO "sheets" VALUES(5,1,1,1,1,1,1,'[]','command/4bc9af52/default','pending','its job was paused',NULL,1,'{"attempts":0,"completions":0,"waits":0,"interruptions":0,"mode":"normal","session_id":null,"used":{},"choice":0,"first":0,"passed_over":"","route":0,"complexity":"","said":0.0,"no_room":0,"held":[],"stopping":""}','null',NULL);
INSERT INTO "sheets" VALUES(6,1,1,1,1,1,1,'[]','command/0efeaf5e/default','pending','',NULL,0,'{"attempts":0,"completions":0,"waits":0,"interruptions":0,"mode":"normal","session_id":null,"used":{},"choice":0,"first":0,"passed_over":"","route":0,"complexity":"","said":0.0,"no_room":0,"held":null,"stopping":""}','null',NULL);
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
PRAGMA user_version = 6;

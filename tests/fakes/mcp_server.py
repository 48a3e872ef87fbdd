"""A stdio MCP server in the standard library alone: `shout` answers in capitals, `flood` at length, `fail` with an error.

With the argument `long`, its tools are described at length; with `silent`, it never answers.
"""

import json
import sys

MODE = sys.argv[1] if len(sys.argv) > 1 else ""
SCHEMA = {"type": "object", "properties": {"text": {"type": "string", "description": "What."}}, "required": ["text"]}


def answer(method, params):
    if method == "initialize":
        info = {"name": "fake", "version": "1"}
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": info}
    if method == "tools/list":
        about = "Works on text. " + ("word " * 9000 if MODE == "long" else "")
        return {
            "tools": [
                {"name": name, "description": about, "inputSchema": SCHEMA} for name in ("shout", "flood", "fail")
            ]
        }
    if method == "tools/call":
        text = params["arguments"].get("text", "")
        said = {"shout": text.upper(), "flood": "x" * 200_000, "fail": "it broke"}[params["name"]]
        return {"content": [{"type": "text", "text": said}], "isError": params["name"] == "fail"}
    return None


for line in sys.stdin:
    request = json.loads(line)
    if "id" not in request or MODE == "silent":
        continue
    result = answer(request["method"], request.get("params") or {})
    error = {"error": {"code": -32601, "message": "method not found"}}
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **({"result": result} if result else error)}), flush=True)

"""`mozart schema`: the JSON Schema of a score, for editors and other programs."""

from __future__ import annotations

from cli import output
from cli.options import Json

EXAMPLE = "mozart schema > score.schema.json"


def command(json: Json = False) -> int:
    """Print the JSON Schema of a score.

    Always JSON; with --json on one line.
    """
    from ipc.score.schema import Score  # pydantic, for verbs that read scores

    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Score.model_json_schema()}
    if json:
        output.document(schema)
        return 0
    import orjson

    output.say(orjson.dumps(schema, option=orjson.OPT_INDENT_2).decode())
    return 0

"""Items into sheets, stages into instances, and the edges between them (score-format §2).

Pure and iterative: chains of any length, 100,000 sheets. `schema` asks `graph_faults` when a score is loaded, so that whoever
holds a `Score` may call `expand` without fear of a cycle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ipc.score.schema import Score, Sheet

#: Sheets of a score, at most.
MAX_SHEETS = 100_000
#: Edges between its sheets, at most: all-on-all between two wide stages multiplies.
MAX_EDGES = 2_000_000


class PlannedSheet(NamedTuple):
    n: int
    stage: int
    instance: int
    fan_count: int
    start_item: int
    end_item: int
    dependencies: tuple[int, ...]
    """Sheets that must be complete first, ascending."""


def total_sheets(sheet: Sheet) -> int:
    if sheet.fan_out:
        return sheet.total_items + sum(count - 1 for count in sheet.fan_out.values())
    return -(-(sheet.total_items - sheet.start_item + 1) // sheet.size)


def total_stages(sheet: Sheet) -> int:
    if sheet.fan_out:
        return sheet.total_items
    if sheet.fan_out_stage_map:
        return max(place.stage for place in sheet.fan_out_stage_map.values())
    return total_sheets(sheet)


def expand(score: Score) -> list[PlannedSheet]:
    """Every sheet of the score, in number order."""
    return _expand_stages(score.sheet) if score.sheet.fan_out else _expand_items(score.sheet)


def in_order(sheets: Sequence[PlannedSheet]) -> list[PlannedSheet]:
    """The same sheets, each waiting for the one before."""
    return [sheet._replace(dependencies=(sheet.n - 1,) if sheet.n > 1 else ()) for sheet in sheets]


def _expand_items(sheet: Sheet) -> list[PlannedSheet]:
    places = sheet.fan_out_stage_map or {}
    planned = []
    for n in range(1, total_sheets(sheet) + 1):
        start = (n - 1) * sheet.size + sheet.start_item
        end = min(start + sheet.size - 1, sheet.total_items)
        place = places.get(n)
        stage, instance, fan_count = (place.stage, place.instance, place.fan_count) if place else (n, 1, 1)
        dependencies = tuple(sorted(set((sheet.dependencies or {}).get(n, ()))))
        planned.append(PlannedSheet(n, stage, instance, fan_count, start, end, dependencies))
    return planned


def _expand_stages(sheet: Sheet) -> list[PlannedSheet]:
    members = stage_members(sheet.total_items, sheet.fan_out)
    planned = []
    for stage, numbers in members.items():
        sources = [members[source] for source in sorted(set((sheet.dependencies or {}).get(stage, ())))]
        # Instances that wait for the same sheets share one tuple: a wide fan-in costs its edges once in memory.
        shared = _join([source for source in sources if not _is_paired(source, numbers)])
        paired = [source for source in sources if _is_paired(source, numbers)]
        for i, n in enumerate(numbers):
            own = tuple(sorted({*shared, *(source[i] for source in paired)})) if paired else shared
            planned.append(PlannedSheet(n, stage, i + 1, len(numbers), n, n, own))
    return planned


def stage_members(total: int, fan_out: Mapping[int, int]) -> dict[int, range]:
    """The sheets of each stage, walking the stages upward."""
    members, n = {}, 1
    for stage in range(1, total + 1):
        count = fan_out.get(stage, 1)
        members[stage] = range(n, n + count)
        n += count
    return members


def _is_paired(source: range, target: range) -> bool:
    return len(source) == len(target)


def _join(sources: Sequence[range]) -> tuple[int, ...]:
    return tuple(n for source in sources for n in source)


def waves(sheets: Sequence[PlannedSheet]) -> list[list[int]]:
    """Sheets by how many must come before them on the longest way: wave k+1 waits for something in wave k."""
    depth: dict[int, int] = {}
    dependencies = {sheet.n: sheet.dependencies for sheet in sheets}
    for n in topological_order(dependencies):
        depth[n] = max(map(depth.__getitem__, dependencies[n]), default=-1) + 1
    found: list[list[int]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for sheet in sheets:
        found[depth[sheet.n]].append(sheet.n)
    return found


def topological_order(dependencies: Mapping[int, Sequence[int]]) -> Iterator[int]:
    """Everything after what it depends on. What is on a cycle, or behind one, does not come."""
    missing = {n: len(set(before)) for n, before in dependencies.items()}
    followers: dict[int, list[int]] = {}
    for n, before in dependencies.items():
        for source in set(before):
            followers.setdefault(source, []).append(n)
    ready = [n for n, count in missing.items() if not count]
    while ready:
        n = ready.pop()
        yield n
        for follower in followers.get(n, ()):
            missing[follower] -= 1
            if not missing[follower]:
                ready.append(follower)


def find_cycle(dependencies: Mapping[int, Sequence[int]]) -> list[int]:
    """One cycle as a chain that ends where it began; empty when there is none. Iterative."""
    nodes = dict.fromkeys([*dependencies, *(source for before in dependencies.values() for source in before)])
    graph = {n: tuple(dependencies.get(n, ())) for n in nodes}
    left = graph.keys() - set(topological_order(graph))
    if not left:
        return []
    # Everything left waits for something left, so walking backwards must come round.
    n, seen, chain = min(left), dict[int, int](), list[int]()
    while n not in seen:
        seen[n] = len(chain)
        chain.append(n)
        n = min(source for source in graph[n] if source in left)
    return [*chain[seen[n] :], n]


# ---- what is wrong with a sheet section ------------------------------------------------------------------------------


class GraphFault(NamedTuple):
    code: str
    field: tuple[str | int, ...]
    """Below `sheet`."""
    message: str
    hint: str = ""


def graph_faults(sheet: Sheet) -> list[GraphFault]:
    """Everything that would make `expand` wrong. Empty for a good sheet section."""
    return _count_faults(sheet) or [*_range_faults(sheet), *_map_faults(sheet)] or _shape_faults(sheet)


def _count_faults(sheet: Sheet) -> list[GraphFault]:
    if sheet.start_item > sheet.total_items:
        message = f"start_item {sheet.start_item} is beyond total_items {sheet.total_items}: there would be 0 sheets"
        return [GraphFault("E301", ("start_item",), message, f"allowed are 1 to {sheet.total_items}")]
    if sheet.fan_out and (sheet.size != 1 or sheet.start_item != 1):
        message = f"fan_out needs size 1 and start_item 1, found size {sheet.size} and start_item {sheet.start_item}"
        return [GraphFault("E301", ("fan_out",), message, "with fan_out, total_items counts stages")]
    if sheet.fan_out and sheet.fan_out_stage_map:
        message = "set either fan_out or fan_out_stage_map, not both: the map says that fan_out was expanded already"
        return [GraphFault("E301", ("fan_out_stage_map",), message, "remove one of them")]
    total = total_sheets(sheet)
    if total > MAX_SHEETS:
        field = "fan_out" if sheet.fan_out else "total_items"
        message = f"the score has {total:,} sheets, at most {MAX_SHEETS:,} are possible"
        return [GraphFault("E301", (field,), message, "raise sheet.size, or split the score")]
    return []


def _range_faults(sheet: Sheet) -> list[GraphFault]:
    total = sheet.total_items if sheet.fan_out else total_sheets(sheet)
    what = "stage" if sheet.fan_out else "sheet"
    faults = []
    for n, before in (sheet.dependencies or {}).items():
        field: tuple[str | int, ...] = ("dependencies", n)
        if not 1 <= n <= total:
            faults.append(GraphFault("V110", field, f"{what} {n} does not exist", f"{what}s are 1 to {total}"))
        for i, source in enumerate(before):
            if source == n:
                faults.append(
                    GraphFault("V111", (*field, i), f"{what} {n} depends on itself", "remove it from its list")
                )
            elif not 1 <= source <= total:
                message = f"{what} {n} depends on {what} {source}, which does not exist"
                faults.append(GraphFault("V110", (*field, i), message, f"{what}s are 1 to {total}"))
    return faults


def _map_faults(sheet: Sheet) -> Iterator[GraphFault]:
    for stage in sheet.fan_out:
        if not 1 <= stage <= sheet.total_items:
            message = f"stage {stage} does not exist"
            yield GraphFault("V110", ("fan_out", stage), message, f"stages are 1 to {sheet.total_items}")
    places = sheet.fan_out_stage_map
    total = total_sheets(sheet)
    if places and set(places) != set(range(1, total + 1)):
        message = f"fan_out_stage_map must name each of the {total} sheets"
        yield GraphFault("V110", ("fan_out_stage_map",), message, "leave it out unless `fan_out` was expanded")


def _shape_faults(sheet: Sheet) -> list[GraphFault]:
    cycle = find_cycle(sheet.dependencies or {})
    if cycle:
        message = f"circular dependency: {_chain(cycle)}"
        return [GraphFault("V111", ("dependencies", cycle[0]), message, "remove one of these dependencies")]
    edges = _count_edges(sheet)
    if edges > MAX_EDGES:
        message = f"there are {edges:,} dependencies between the sheets, at most {MAX_EDGES:,} are possible"
        return [GraphFault("E301", ("dependencies",), message, "put a stage with one sheet between two wide stages")]
    return []


def _chain(cycle: Sequence[int]) -> str:
    shown = [str(n) for n in cycle]
    if len(shown) > 20:
        shown[10:-9] = [f"… {len(shown) - 19} more …"]
    return " → ".join(shown)


def _count_edges(sheet: Sheet) -> int:
    edges = 0
    for n, before in (sheet.dependencies or {}).items():
        width = sheet.fan_out.get(n, 1)
        for source in set(before):
            other = sheet.fan_out.get(source, 1)
            edges += width if width == other else width * other
    return edges

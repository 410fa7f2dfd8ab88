"""Danlu's own tools, ready to be put into a toolbox."""

from __future__ import annotations

from danlu.tools.calculator.calculate import calculate
from danlu.tools.protocol import Tool, tool
from danlu.tools.search.answer import ask
from danlu.tools.search.index import Index
from danlu.tools.sql.database import Database


def calculator() -> Tool:
    """The calculator."""

    def calculator(expression: str) -> str:
        """Compute an expression exactly: numbers, units, dates, equations, derivatives."""
        return calculate(expression)

    return tool(calculator)


def search(index: Index) -> Tool:
    """Search in the documents of an index."""

    def search(question: str) -> dict[str, object]:
        """Find sentences in the documents that answer a question, each with its place."""
        index.update()
        found = ask(index, question).citations
        if not found:
            return {"found": [], "note": "nothing in the documents supports an answer; say so"}
        return {"found": [{"quote": each.quote, "place": each.place} for each in found]}

    return tool(search)


def database(source: Database) -> Tool:
    """One SELECT on a database, whose tables stand in the tool's description."""

    def sql(select: str) -> dict[str, object]:
        """Run one SELECT and get its rows."""
        found = source.select(select)
        return {"columns": found.columns, "rows": found.rows, "more_rows": found.cut}

    made = tool(sql)
    description = f"{made.description} Tables: {source.schema().describe()}"
    return Tool(name=made.name, description=description, arguments=made.arguments, function=made.function)

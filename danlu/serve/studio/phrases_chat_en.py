"""Making tasks, tools, personas and comparisons of several turns, in English."""

from __future__ import annotations

CHATTING = {
    # tools
    "sampling.tools": "The model may call",
    "step.asked": "Asked",
    "step.given": "Result",
    "step.waits": "No result yet",
    "step.text": "What was said to the tool, or by it",
    # personas
    "persona.choose": "Persona",
    "persona.keep": "Keep this system prompt as a persona",
    "persona.keep_about": "A persona of yours with the same name is replaced.",
    "persona.name": "Name of the persona",
    "persona.shared": "Others may choose it too",
    "persona.empty": "A persona needs a name, and a system prompt in the panel.",
    "persona.remove": "Remove this persona",
    "persona.of": "{name} (by {person})",
    # making tasks
    "chat.rank": "Rank these versions",
    "chat.ranked": "The {n} versions are a ranking task now. Whoever ranks sees this conversation.",
    "rank.make": "Make tasks from prompts",
    "page.tasks": "Make tasks",
    "tasks.about": "Prompts become work for people: models answer, each task joins the queue at once.",
    "tasks.kind": "What people are to do",
    "tasks.rank": "Rank answers",
    "tasks.write": "Write the answer",
    "tasks.prompts": "Prompts",
    "tasks.prompts_about": "One a line: plain text, or records with prompt or messages, perhaps completions.",
    "tasks.file": "Or choose a file: .txt or .jsonl",
    "tasks.no_text": "The file is no UTF-8 text (byte {place}).",
    "tasks.n": "Answers a prompt (2–9)",
    "tasks.overlap": "People who do each task",
    "tasks.draft": "The first model writes a draft",
    "tasks.guideline": "Guidelines, if not the usual ones",
    "tasks.no_model": "No model is called {name} any more; choose another.",
    "tasks.make": "Make the tasks",
    "tasks.jobs": "What is being made",
    "tasks.running": "Being made",
    "tasks.done": "Done",
    "tasks.stopped": "Stopped",
    "tasks.progress": "{n} of {all} prompts, {made} new tasks",
    "tasks.known": "{n} tasks were there before.",
    "tasks.more_faults": "And {n} more.",
    # comparing in several turns
    "compare.follow": "Go on with this conversation",
    "compare.follow_about": "All of them go on from answer {number}; who answers what is hidden again.",
    "compare.follow_again": "No answers came to the last question. Ask it again, or something else.",
    "compare.ask_on": "Ask on",
    "compare.keys_after": "Keys: Enter is the next question, c goes on with this conversation.",
}

"""Tools in chats, exams, teaching and training, with a model that says what it is told to say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from danlu.cli import main
from danlu.config import ConfigError, load
from danlu.data.chats import read_chats
from danlu.dialogue.reasoning import Thought, vote
from danlu.dialogue.tool_loop import LoopLimits, Turn, answer_all
from danlu.generate.sampling import SamplingConfig
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel
from danlu.objectives.ppo import Surrogate
from danlu.recipes import grpo
from danlu.recipes.chat import ChatConfig
from danlu.recipes.conversation import Conversation, Manner
from danlu.recipes.grpo import GrpoConfig
from danlu.recipes.speaker import CUT, Speaker
from danlu.recipes.stage import publish
from danlu.recipes.thinking import ThinkingConfig, consider, tally_line
from danlu.recipes.tool_exam import Examined, ToolExaminer, episode
from danlu.recipes.tool_settings import ToolsConfig
from danlu.recipes.tool_tasks import tool_demonstrations, tools_over
from danlu.rl.collect import RolloutConfig
from danlu.rl.rollout import Prompt
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatFormat, Message
from danlu.tools import builtin
from danlu.tools.protocol import Toolbox, ToolLimits
from danlu.world.splits import generator
from danlu.world.tool_tasks import ToolExam, demonstrate, tool_cell
from danlu.world.truth import World

WORLD = World.create(0)
GREEDY = SamplingConfig(max_new_tokens=8, temperature=0)


@pytest.fixture(scope="module")
def speaker() -> Speaker:
    tokenizer = Tokenizer.train(["user assistant system 你好 hello there\n"] * 3, 300)
    sizes = {"d_model": 16, "n_layers": 1, "n_heads": 2, "n_kv_heads": 1, "head_dim": 8, "d_ff": 16}
    config = ModelConfig(vocab_size=tokenizer.vocab_size, max_seq_len=512, **sizes)
    return Speaker(LanguageModel(config, seed=1).eval(), ChatFormat(tokenizer))


class Told(Conversation):
    """A conversation whose model says what is written down for it, token for token."""

    def __init__(self, speaker: Speaker, script: Sequence[Message], manner: Manner) -> None:
        self.shown: list[str] = []
        super().__init__(speaker, "", GREEDY, self.shown.append, manner)
        self.script = list(script)
        self.prompts: list[str] = []

    def speak(self, prompt_ids: Sequence[int]) -> Any:
        chat = self.speaker.chat
        self.prompts.append(chat.tokenizer.decode(prompt_ids, show_control=True))
        message = self.script.pop(0)
        yield message["content"]
        rendered = chat.render([{"role": "user", "content": ""}, message])
        return _Completion([i for i, said in zip(rendered.ids, rendered.loss_mask, strict=True) if said])


class _Completion:
    def __init__(self, ids: list[int]) -> None:
        self.ids, self.finish_reason = tuple(ids), "stop"


def calling(name: str, **arguments: Any) -> Message:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "call_1", "type": "function", "function": function}],  # type: ignore[typeddict-item]
    }


def saying(content: str) -> Message:
    return {"role": "assistant", "content": content}


BOX = Toolbox([builtin.calculator()], ToolLimits(wall_s=600))


def test_a_chat_runs_the_calls_of_its_model_and_shows_them(speaker: Speaker):
    script = [calling("calculator", expression="12*34"), saying("It is 408.")]
    talk = Told(speaker, script, Manner(toolbox=BOX))
    talk.hear("What is 12 × 34?")
    assert [each["role"] for each in talk.messages] == ["user", "assistant", "tool", "assistant"]
    assert talk.messages[2]["content"] == '"408"'
    assert '(calculator {"expression": "12*34"} → "408")\n' in talk.shown
    assert '"408"<|im_end|>\n<|im_start|>assistant\n' in talk.prompts[1]
    assert '<|im_start|>tools\n{"type": "function"' in talk.prompts[0]


def test_a_chat_that_runs_out_of_turns_forgets_the_question(speaker: Speaker):
    script = [calling("calculator", expression="1+1")] * 2
    talk = Told(speaker, script, Manner(toolbox=BOX, limits=LoopLimits(n_turns=2)))
    talk.hear("?")
    assert talk.messages == []
    assert talk.shown[-1] == "(no answer within the turns that are granted; the question is forgotten)\n"


def test_answers_branch_and_questions_are_edited(speaker: Speaker):
    talk = Told(speaker, [saying(text) for text in ("one", "two", "three")], Manner())
    talk.hear("a")
    talk.hear("/retry")
    assert [each["content"] for each in talk.messages] == ["a", "two"]
    talk.shown.clear()
    talk.hear("/branch")
    assert talk.shown == [" 1 a → one\n*2 a → two\n"]
    talk.hear("/branch 1")
    assert [each["content"] for each in talk.messages] == ["a", "one"]
    talk.hear("/edit b")
    assert [each["content"] for each in talk.messages] == ["b", "three"]
    talk.hear("/branch 4")
    assert talk.shown[-1] == "(there is no answer 4; there are 1 to 3)\n"
    talk.hear("/branch 2")
    assert [each["content"] for each in talk.messages] == ["a", "two"]


def test_a_long_chat_is_summed_up_when_asked(speaker: Speaker, monkeypatch: pytest.MonkeyPatch):
    talk = Told(speaker, [saying("y" * 60)] * 9, Manner(context="summarise"))
    monkeypatch.setattr(Speaker, "say", lambda *_: iter(["They said x.", CUT]))
    for _ in range(9):
        talk.hear("x" * 40)
    assert talk.messages[1] == {"role": "assistant", "content": "They said x."}
    assert len(talk.messages) < 18
    assert any("messages are summed up" in text for text in talk.shown)
    assert "They said x." in talk.prompts[-1]
    assert len(talk.tree.messages) == 18  # nothing is lost


def test_tools_are_set_by_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "my_weather_tools.py").write_text(
        'def weather(city: str) -> str:\n    """Tell the weather."""\n    return f"sun in {city}"\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    words = ["tools.calculator=true", "tools.functions.sky=my_weather_tools.py:weather", "model=m"]
    box = load(ChatConfig, None, words).tools.toolbox
    assert box is not None
    assert box.names == ["calculator", "sky"]
    from danlu.tools.protocol import Call

    assert box.call(Call("1", "sky", '{"city": "Lyon"}')).content == '"sun in Lyon"'
    assert load(ChatConfig, None, ["model=m"]).tools.toolbox is None


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("weather", "it must be file.py:function"),
        ("nowhere.py:f", "there is no file nowhere.py"),
        ("no_such_module_at_all:f", "which cannot be imported"),
        ("json:no_such_function", "there is no function 'no_such_function' in it"),
        ("json.py:loads", "another module is called 'json'"),
    ],
)
def test_a_function_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, message: str
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    (tmp_path / "json.py").write_text("")
    with pytest.raises(ConfigError, match=message):
        _ = ToolsConfig(functions={"f": where}).toolbox


def test_graded_chats_have_no_tools():
    with pytest.raises(ConfigError, match="tools and tamer are set"):
        ChatConfig(model=Path("m"), tamer=True, tools=ToolsConfig(calculator=True))


def test_demonstrations_show_what_the_tools_really_say(tmp_path: Path):
    assert (
        main(["tool_tasks", str(tmp_path), "n_demonstrations=24", "n_prompts=8", "corpus_bytes=300000"]) == 0
    )
    chats = read_chats(tmp_path / "demonstrations.jsonl")
    assert 20 <= len(chats) <= 24
    assert {len(chat.tools) for chat in chats} == {2}
    results = [m["content"] for chat in chats for m in chat.messages if m["role"] == "tool"]
    assert len(results) > 12
    assert not any('"error"' in result for result in results)
    prompts = [json.loads(line) for line in (tmp_path / "prompts.jsonl").read_text().splitlines()]
    assert [set(each) for each in prompts] == [{"id", "messages", "tools"}] * 8


@pytest.fixture(scope="module")
def examiner(tmp_path_factory: pytest.TempPathFactory) -> ToolExaminer:
    return ToolExaminer(WORLD, "exam", tmp_path_factory.mktemp("documents"), 4, seed=0)


def test_a_model_that_does_as_it_should_passes_the_exam_and_one_that_only_talks_does_not(
    examiner: ToolExaminer, tmp_path: Path
):
    by_question = {task.messages[-1]["content"]: task for task in examiner.tasks}

    def perfect(conversations: Sequence[Sequence[Message]]) -> list[Turn]:
        turns: list[Turn] = []
        for messages in conversations:
            question = next(m["content"] for m in reversed(messages) if m["role"] == "user")
            task = by_question[question]
            solved = demonstrate(task, lambda wanted: "", generator("test", task.id))
            mine = [m for m in solved[len(task.messages) :] if m["role"] == "assistant"]
            n_said = sum(m["role"] == "assistant" for m in messages[len(task.messages) :])
            turns.append(Turn(mine[n_said]))  # type: ignore[arg-type]
        return turns

    conversations: Any = [task.messages for task in examiner.tasks]
    loops = answer_all(conversations, perfect, examiner.toolbox)
    pairs = zip(examiner.tasks, loops, strict=True)
    found = Examined([episode(task, loop) for task, loop in pairs])
    assert found.share("both").mean == 1.0
    silent = answer_all(conversations, lambda all_: [Turn(saying("no")) for _ in all_], examiner.toolbox)
    pairs = zip(examiner.tasks, silent, strict=True)
    poor = Examined([episode(task, loop) for task, loop in pairs]).save(tmp_path)
    n_without = sum(task.category == "no_tool" for task in examiner.tasks)
    assert poor["all"]["calls"]["mean"] == pytest.approx(n_without / len(examiner.tasks))
    assert poor["all"]["both"]["mean"] == 0
    assert len((tmp_path / "episodes.jsonl").read_text().splitlines()) == len(examiner.tasks)


def test_chains_are_as_many_as_asked_and_the_same_every_time(speaker: Speaker):
    asked: list[Message] = [{"role": "user", "content": "hello"}]
    sampling = SamplingConfig(max_new_tokens=8, temperature=1.0)
    found = consider(speaker, asked, sampling, 5, ThinkingConfig())
    assert len(found.thoughts) == 5
    assert found == consider(speaker, asked, sampling, 5, ThinkingConfig())
    assert found != consider(speaker, asked, sampling, 5, ThinkingConfig(ask=False))
    with pytest.raises(ConfigError, match="all chains would be the same"):
        consider(speaker, asked, GREEDY, 2, ThinkingConfig())


def test_the_share_of_the_votes_is_told():
    thoughts = [Thought("", answer) for answer in ("12", "14", "12", "")]
    assert tally_line(vote(thoughts)) == "(2 of 4 chains, 50%; others: 14 1 time, 1 without an answer)"


def test_every_demonstration_is_one_of_train(tmp_path: Path):
    box = tools_over(WORLD, "train", tmp_path)
    exam = {task.id for task in ToolExaminer(WORLD, "exam", tmp_path / "exam", 3, 0).tasks}
    assert not exam & {each["id"] for each in tool_demonstrations(WORLD, box, 24, 0)}


def test_a_policy_learns_from_episodes_with_tools(speaker: Speaker, tmp_path: Path):
    """Two rollouts of GRPO, graded by the task: the run ends, and every kind of prompt was graded as JSON."""
    small = replace(speaker.model.config, max_seq_len=768)
    publish(LanguageModel(small, seed=2), speaker.chat.tokenizer, tmp_path / "model")
    (task,) = tool_cell(WORLD, "train", "calculator", "en", 1, seed=0)
    record = {"id": task.id, "messages": list(task.messages), "tools": BOX.schemas}
    (tmp_path / "prompts.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    graded: list[str] = []

    def grade(_: Prompt, said: str) -> float:
        graded.append(said)
        return ToolExam([task]).grade(task, said) + len(graded) % 2

    config = GrpoConfig(
        policy=tmp_path / "model",
        prompts=tmp_path / "prompts.jsonl",
        out=tmp_path / "grpo",
        n_episodes=8,
        rollout=RolloutConfig(n_episodes=4, n_completions=4, minibatch_size=4, max_new_tokens=8),
        objective=Surrogate(average="completions"),
        tools=ToolsConfig(calculator=True),
    )
    assert grpo.run(config, grade=grade) == tmp_path / "grpo"
    assert len(graded) == 8
    assert all(json.loads(said)[0]["role"] == "assistant" for said in graded)
    assert (tmp_path / "grpo" / "model" / "model.safetensors").exists()

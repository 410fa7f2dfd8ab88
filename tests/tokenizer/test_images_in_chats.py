"""Pictures in a conversation: where their markers stand, and that nothing anybody writes becomes one."""

from __future__ import annotations

import json

import pytest
import tokenizers
from jinja2.sandbox import ImmutableSandboxedEnvironment

from danlu.tokenizer.bpe import Tokenizer, TokenizerError
from danlu.tokenizer.chat import ChatError, ChatFormat, Sight, images_of
from danlu.tokenizer.chatml import IMAGE

PLAIN = Tokenizer.train(["user\nassistant\nwhat is this 这是什么\n"] * 5, 300)
SEEING = PLAIN.with_images()
MARKER = PLAIN.vocab_size
CHAT = ChatFormat(SEEING, Sight(side=4, n_patches=3))


def shown(content: str, *places: int) -> dict:
    return {"role": "user", "content": content, "images": [{"at": at, "url": f"data:{at}"} for at in places]}


def test_the_marker_is_one_more_token_and_no_other_changes(tmp_path):
    assert (PLAIN.image_id, SEEING.image_id, SEEING.vocab_size) == (None, MARKER, MARKER + 1)
    text = "what is this 这是什么 <|im_start|>"
    assert SEEING.encode(text) == PLAIN.encode(text)
    assert SEEING.control_ids == PLAIN.control_ids | {MARKER}
    assert SEEING.fingerprint != PLAIN.fingerprint
    SEEING.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert (again.image_id, again.vocab_size, again.fingerprint) == (MARKER, MARKER + 1, SEEING.fingerprint)
    with pytest.raises(TokenizerError, match="has a marker of pictures already"):
        SEEING.with_images()


def test_text_that_looks_like_a_marker_is_spelled_out():
    ids = CHAT.render([{"role": "user", "content": f"a{IMAGE}b"}]).ids
    assert MARKER not in ids
    assert SEEING.decode(ids) == f"user\na{IMAGE}b\n"
    spoofed = CHAT.render([shown(f"{IMAGE}?", 0)]).ids
    assert spoofed.count(MARKER) == 3  # those of the picture


def test_each_picture_is_so_many_markers_in_its_place_and_none_is_learnt():
    messages = [shown("ab", 0, 1, 1), {"role": "assistant", "content": "c"}]
    rendered = CHAT.render(messages)
    header = [SEEING.im_start_id, *SEEING.encode("user\n")]
    picture = [MARKER] * 3
    expected = [*header, *picture, *SEEING.encode("a"), *picture, *picture, *SEEING.encode("b")]
    assert rendered.ids[: len(expected)] == expected
    assert not any(rendered.loss_mask[: len(expected) + 1])
    assert CHAT.n_images(rendered.ids) == 3
    assert images_of(messages) == ["data:0", "data:1", "data:1"]
    overhead, lengths = CHAT.lengths(messages[:1])
    assert overhead + sum(lengths) == len(CHAT.prompt(messages[:1]))


def test_a_conversation_without_pictures_has_the_ids_it_ever_had():
    messages = [{"role": "user", "content": "what"}, {"role": "assistant", "content": "this"}]
    plain = ChatFormat(PLAIN)
    assert CHAT.render(messages) == plain.render(messages)
    assert plain.template != CHAT.template


def test_the_exported_template_has_one_marker_a_picture_where_ours_has_one_a_patch(tmp_path):
    message = shown("what 这", 0, 4)
    tools = [{"name": "search"}]
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    SEEING.save(tmp_path)
    tree = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert tree["chat_template"] == CHAT.template
    assert tree["additional_special_tokens"][-1] == IMAGE
    template = environment.from_string(tree["chat_template"])
    image = {"type": "image_url", "image_url": {"url": "data:"}}
    texts = [{"type": "text", "text": each} for each in ("what", " 这")]
    said = {"role": "user", "content": [image, texts[0], image, texts[1]]}
    for given, ours in ((said, message), ({"role": "user", "content": "what"},) * 2):
        text = template.render(messages=[given], tools=tools, add_generation_prompt=True)
        ids = tokenizers.Tokenizer.from_str(SEEING.to_json()).encode(text).ids
        once = ChatFormat(SEEING, Sight(side=4, n_patches=1))
        assert ids == once.prompt([ours], tools)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([shown("a", 2)], "image 1 is no image; it must have 'url', a text, and 'at', a place"),
        ([shown("ab", 1, 0)], "image 2 is no image"),
        ([shown("a", -1)], "image 1 is no image"),
        ([{**shown("a"), "images": ["data:"]}], "image 1 is no image"),
        ([{**shown("a"), "images": [{"at": 0}]}], "image 1 is no image"),
        ([{**shown("a"), "images": "data:"}], "'images' must be a list"),
        ([{**shown("a", 0), "role": "system"}], "turn 1: 'images' must be a list, in a turn of the user"),
    ],
)
def test_what_is_no_picture_is_refused(messages, message):
    with pytest.raises(ChatError, match=message):
        CHAT.render(messages)


def test_a_format_without_sight_refuses_pictures():
    for chat in (ChatFormat(PLAIN), ChatFormat(SEEING)):
        with pytest.raises(ChatError, match="holds a picture; this model reads text only"):
            chat.prompt([shown("a", 0)])
    with pytest.raises(ChatError, match="its tokenizer has no marker for them"):
        ChatFormat(PLAIN, Sight(side=4, n_patches=3))

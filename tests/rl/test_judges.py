"""Functions and services that reward: what they are asked, and what happens when they fail."""

import json
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from danlu.config import ConfigError
from danlu.generate.sampler import Completion
from danlu.rl import judges
from danlu.rl.judges import CheckedReward, Endpoint, RewardError, reward_of_endpoint, reward_of_grade
from danlu.rl.rollout import Prompt, Rollout


class Words:
    """A chat format in which ids are words."""

    def parse(self, ids):
        return {"role": "assistant", "content": " ".join(f"w{i}" for i in ids)}


def rollout(*ids):
    asked = [{"role": "user", "content": "什么颜色?"}]
    said = Completion(ids=ids, logprobs=(0.0,) * len(ids), finish_reason="stop")
    return Rollout(Prompt("sky", [1], asked), said)


ROLLOUTS = [rollout(1, 2), rollout(3)]


@pytest.fixture
def service():
    """A service that gives the answers it is told, one a request: a status and a body, or a delay before."""
    asked, answers = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status, body, delay = answers.pop(0)
            time.sleep(delay)
            try:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)
            except BrokenPipeError:  # it was too late
                pass

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/score", asked, answers
    server.shutdown()
    thread.join()
    server.server_close()


def reward_at(url, **settings):
    return CheckedReward(reward_of_endpoint(Endpoint(url=url, **settings), Words()))


def test_a_service_is_sent_the_rollout_and_answers_with_its_scores(service):
    url, asked, answers = service
    answers.append((200, b'{"scores": [0.5, -1]}', 0))
    assert reward_at(url)(ROLLOUTS).tolist() == [0.5, -1.0]
    messages = [{"role": "user", "content": "什么颜色?"}]
    assert asked == [
        {
            "completions": [
                {"id": "sky", "messages": messages, "completion": "w1 w2"},
                {"id": "sky", "messages": messages, "completion": "w3"},
            ]
        }
    ]


def test_a_service_that_failed_is_asked_again(service, monkeypatch):
    url, asked, answers = service
    monkeypatch.setattr(judges, "PAUSE_S", 0.0)
    answers += [(503, b"busy", 0), (200, b'{"scores": [1, 2]}', 0)]
    assert reward_at(url)(ROLLOUTS).tolist() == [1.0, 2.0]
    assert len(asked) == 2
    answers += [(503, b"busy", 0)] * 2
    with pytest.raises(RewardError, match=r"/score: no scores in 2 attempts \(HTTP Error 503"):
        reward_at(url, attempts=2)(ROLLOUTS)


def test_a_service_that_refuses_the_question_is_not_asked_again(service):
    url, asked, answers = service
    answers.append((400, b"", 0))
    with pytest.raises(RewardError, match=r"no scores in 1 attempts \(HTTP Error 400"):
        reward_at(url)(ROLLOUTS)
    assert len(asked) == 1


def test_a_service_that_does_not_answer_in_time_is_named(service):
    url, _, answers = service
    answers.append((200, b'{"scores": [1, 2]}', 0.5))
    reward = reward_at(url, attempts=1, timeout_s=0.1)
    with pytest.raises(RewardError, match=r"no scores in 1 attempts \(timed out"):
        reward(ROLLOUTS)
    assert reward.failed


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", "answered b'<html>'; it must be"),
        (b'{"score": 1}', "it must be"),
        (b'{"scores": "high"}', "it must be"),
        (b'{"scores": [1]}', "returned 1 scores for 2 completions"),
        (b'{"scores": [1, NaN]}', "is nan; it must be a finite number"),
        (b'{"scores": [1, null]}', "is None"),
    ],
)
def test_an_answer_that_is_no_list_of_numbers_is_refused(service, body, message):
    url, _, answers = service
    answers.append((200, body, 0))
    with pytest.raises(RewardError, match=message):
        reward_at(url)(ROLLOUTS)


def test_nobody_listens():
    with pytest.raises(RewardError, match="no scores in 1 attempts"):
        reward_at("http://127.0.0.1:9/", attempts=1)(ROLLOUTS)


def test_only_http_is_asked():
    with pytest.raises(ConfigError, match=r"url is 'file:///etc/passwd'; it must begin with http"):
        Endpoint(url="file:///etc/passwd")


def test_a_function_is_interrupted_when_its_time_is_over():
    def slow(prompt, answer):
        time.sleep(5 if answer == "w3" else 0)
        return 1.0

    reward = CheckedReward(reward_of_grade(slow, Words(), timeout_s=0.1))
    began = time.perf_counter()
    with pytest.raises(RewardError, match=r"prompt 'sky' took longer than 0\.1 s \(grade_timeout_s\)"):
        reward(ROLLOUTS)
    assert time.perf_counter() - began < 4
    assert reward.failed


def test_a_function_in_time_is_left_alone():
    reward = CheckedReward(reward_of_grade(lambda prompt, answer: len(answer), Words(), timeout_s=60.0))
    assert reward(ROLLOUTS).tolist() == [5.0, 2.0]

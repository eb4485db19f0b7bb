"""Webhooks on servers of this process: what arrives, what is tried again, what is dropped."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cnnlstm_mm.streaming import Event, Webhook, event_outputs


class Receiver(ThreadingHTTPServer):
    """Answers with the given codes, one after the other and then 200; keeps what it accepted."""

    daemon_threads = True

    def __init__(self, *codes, hold=None):
        super().__init__(('127.0.0.1', 0), self.Handler)
        self.codes, self.hold, self.requests, self.got = [*codes], hold, [], []
        self.address = f'http://127.0.0.1:{self.server_port}/hook'
        threading.Thread(target=self.serve_forever, daemon=True).start()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers['Content-Length']))
            self.server.requests.append((self.path, dict(self.headers)))
            if self.server.hold:
                self.server.hold.wait(20)
            code = self.server.codes.pop(0) if self.server.codes else 200
            if code == 200:  # before the answer, after which the client goes on
                self.server.got.append(json.loads(body))
            self.send_response(code)
            self.send_header('Location', '/elsewhere')
            self.end_headers()

        def log_message(self, *_):
            pass


@pytest.fixture
def receiver(monkeypatch):
    monkeypatch.setattr(event_outputs, 'FIRST_PAUSE', 0.001)
    servers = []

    def start(*codes, **options):
        servers.append(Receiver(*codes, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_messages_arrive_in_order(receiver):
    server = receiver()
    message = event_outputs.event_message(Event(1.00004, 2, 'gähnen', 0.9), source='a')
    assert message == dict(source='a', start=1.0, end=2, label='gähnen', score=0.9)
    with Webhook(server.address.replace('://', '://me:secret@')) as hook:
        for k in range(5):
            hook.post(dict(message, k=k))
    assert server.got == [dict(message, k=k) for k in range(5)]
    path, headers = server.requests[0]
    assert path == '/hook' and headers['Authorization'] == 'Basic bWU6c2VjcmV0'
    assert (hook.sent, hook.dropped) == (5, 0) and 'secret' not in hook.name


@pytest.mark.slow
@pytest.mark.parametrize(
    'codes, tries, sent',
    [
        ([500, 503, 429], 4, 1),
        ([500] * 4, 4, 0),
        ([404], 1, 0),
        ([302], 1, 0),  # would arrive as a GET without its message
    ],
)
def test_what_is_tried_again(codes, tries, sent, receiver, caplog):
    server = receiver(*codes)
    with Webhook(server.address, retries=3) as hook:
        hook.post(dict(k=1))
    assert len(server.requests) == tries
    assert (hook.sent, hook.dropped) == (sent, 1 - sent)
    assert sent or f'1 in all: the server answers {codes[-1]}' in caplog.text


def test_a_slow_server_never_blocks_the_stream(receiver, caplog):
    """The oldest messages are dropped, counted and named."""
    server = receiver(hold=threading.Event())
    hook = Webhook(server.address.replace('://', '://me:secret@'), timeout=20, capacity=3)
    hook.post(dict(k=0))
    while not server.requests:
        time.sleep(0.01)
    for k in range(1, 10):
        hook.post(dict(k=k))  # returns, or the test would hang
    assert hook.dropped == 6 and '3 others wait' in caplog.text and 'secret' not in caplog.text
    server.hold.set()
    hook.close()
    assert [message['k'] for message in server.got] == [0, 7, 8, 9] and hook.sent == 4


def test_a_server_that_never_answers(receiver, caplog):
    server = receiver(hold=threading.Event())
    hook = Webhook(server.address, timeout=0.1, retries=1)
    hook.post(dict(k=1))
    hook.post(dict(k=2))
    hook.close(patience=0.15)
    assert hook.sent == 0 and 'after the end' in caplog.text
    server.hold.set()
    away = Webhook('http://127.0.0.1:9/', retries=0)
    away.post(dict(k=1))
    away.close()
    assert away.dropped == 1 and 'refused' in caplog.text


@pytest.mark.parametrize('address', ['ftp://host/a', 'host/a', 'http:///a', 'file:///etc/passwd'])
def test_other_addresses(address):
    with pytest.raises(ValueError, match='expected the address of a webhook'):
        Webhook(address)

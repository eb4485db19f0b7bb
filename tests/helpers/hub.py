"""A stand-in for the Hugging Face Hub on this machine, with what its client asks for."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

REPO = r'(?P<repo>[\w.-]+/[\w.-]+)'


class Hub(ThreadingHTTPServer):
    """Repositories in memory: ``repos[name][file]`` is its bytes.

    ``unknown`` lists requests that it does not serve, ``tokens`` the tokens that it was given.
    """

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.repos, self.unknown, self.tokens, self.private = {}, [], set(), set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self):
        return f'http://127.0.0.1:{self.server_address[1]}'

    def sha(self, repo):
        names = sorted(self.repos[repo].items())
        return hashlib.sha1(
            repr([(k, hashlib.sha1(v).digest()) for k, v in names]).encode()
        ).hexdigest()

    def close(self):
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def answer(self, content, code=200, **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in {'Content-Length': len(body), **headers}.items():
            self.send_header(name.replace('_', '-'), str(value))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    def refuse(self, code, name, **more):
        self.answer(dict(error=name), code, X_Error_Code=name, X_Error_Message=name)

    def do(self):
        self.body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        path = unquote(self.path.partition('?')[0])
        self.server.tokens.add(self.headers.get('Authorization'))
        for pattern, method in (
            ('/api/repos/create', 'create'),
            ('/api/validate-yaml', 'validate'),
            (f'/api/models/{REPO}/preupload/main', 'preupload'),
            (f'/api/models/{REPO}/commit/main', 'commit'),
            (rf'/api/models/{REPO}(/revision/[\w.-]+)?', 'info'),
            (rf'/api/models/{REPO}/tree/[\w.-]+', 'tree'),
            (rf'/{REPO}/resolve/[\w.-]+/(?P<file>.+)', 'file'),
        ):
            match = re.fullmatch(pattern, path)
            if match:
                groups = match.groupdict()
                if groups.get('repo', '') not in ('', *self.server.repos):
                    return self.refuse(404, 'RepoNotFound')
                return getattr(self, method)(**groups)
        self.server.unknown.append(f'{self.command} {self.path}')
        return self.refuse(404, 'Unknown')

    do_GET = do_POST = do_HEAD = do_PUT = do

    def create(self):
        wanted = json.loads(self.body)
        name = '/'.join(filter(None, (wanted.get('organization'), wanted['name'])))
        if name in self.server.repos:
            return self.answer(dict(error='exists', url=f'{self.server.address}/{name}'), 409)
        self.server.repos[name] = {}
        if wanted.get('private') or wanted.get('visibility') == 'private':
            self.server.private.add(name)
        self.answer(dict(url=f'{self.server.address}/{name}', name=name, id=name))

    def validate(self):
        assert json.loads(self.body)['content'].startswith('---\n')
        self.answer(dict(errors=[], warnings=[]))

    def preupload(self, repo):
        files = [
            dict(path=file['path'], uploadMode='regular', shouldIgnore=False, oid=None)
            for file in json.loads(self.body)['files']
        ]
        self.answer(dict(files=files))

    def commit(self, repo):
        for line in map(json.loads, self.body.splitlines()):
            if line['key'] == 'file':
                value = line['value']
                self.server.repos[repo][value['path']] = base64.b64decode(value['content'])
            elif line['key'] == 'deletedFile':
                del self.server.repos[repo][line['value']['path']]
        sha = self.server.sha(repo)
        self.answer(
            dict(
                success=True, commitOid=sha, commitUrl=f'{self.server.address}/{repo}/commit/{sha}'
            )
        )

    def info(self, repo):
        names = [dict(rfilename=name) for name in self.server.repos[repo]]
        facts = dict(private=repo in self.server.private, tags=[], downloads=0, likes=0)
        self.answer(dict(id=repo, modelId=repo, sha=self.server.sha(repo), siblings=names, **facts))

    def tree(self, repo):
        files = self.server.repos[repo].items()
        self.answer([dict(type='file', path=k, size=len(v), oid=oid(v)) for k, v in files])

    def file(self, repo, file):
        data = self.server.repos[repo].get(file)
        if data is None:
            return self.refuse(404, 'EntryNotFound')
        self.answer(data, ETag=f'"{oid(data)}"', X_Repo_Commit=self.server.sha(repo))


def oid(data):
    return hashlib.sha1(data).hexdigest()

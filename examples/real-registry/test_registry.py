"""A test in Python against a registry with real images.

    pier testdata init alpine:3.22=alpine:3.22
    REPOSITORY=alpine TAG=3.22 python3 examples/real-registry/test_registry.py

PIER names the program, TESTDATA the folder of images. Nothing but the standard library is needed.
"""

import base64
import hashlib
import json
import os
import ssl
import subprocess
import unittest
import urllib.error
import urllib.request

ACCEPT = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"


class Registry:
    """A registry for one test: `with Registry() as registry: …`."""

    def __enter__(self):
        program = os.environ.get("PIER", "pier")
        folder = os.environ.get("TESTDATA", "testdata")
        self.process = subprocess.Popen(
            [program, "testdata", "run", "--json", "--tls", "--auth", "tester", "--storage-dir", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        # One line, when it is ready.
        said = json.loads(self.process.stdout.readline())
        self.url = said["url"]
        self.login = f'{said["username"]}:{said["password"]}'
        self.trust = ssl.create_default_context(cadata=said["ca_pem"])
        return self

    def __exit__(self, *failure):
        # It ends when its standard input does, also when this process is killed.
        self.process.stdin.close()
        self.process.stdout.close()
        self.status = self.process.wait(timeout=20)

    def get(self, path, login=None):
        request = urllib.request.Request(self.url + path, headers={"Accept": ACCEPT})
        if login:
            credentials = base64.b64encode(login.encode()).decode()
            request.add_header("Authorization", f"Basic {credentials}")
        with urllib.request.urlopen(request, context=self.trust) as response:
            return response.read(), response.headers["Docker-Content-Digest"]


class Pulls(unittest.TestCase):
    def setUp(self):
        self.repository = os.environ.get("REPOSITORY", "alpine")
        self.tag = os.environ.get("TAG", "latest")

    def test_the_digest_is_that_of_the_bytes(self):
        with Registry() as registry:
            manifest, said = registry.get(f"/v2/{self.repository}/manifests/{self.tag}", registry.login)
            digest = "sha256:" + hashlib.sha256(manifest).hexdigest()
            self.assertEqual(digest, said)
            by_digest, _ = registry.get(f"/v2/{self.repository}/manifests/{digest}", registry.login)
            self.assertEqual(manifest, by_digest)
        self.assertEqual(registry.status, 0)

    def test_who_does_not_log_in_is_refused(self):
        with Registry() as registry:
            for login in (None, "tester:wrong"):
                with self.assertRaises(urllib.error.HTTPError) as refused:
                    registry.get("/v2/", login)
                self.assertEqual(refused.exception.code, 401)
                refused.exception.close()


if __name__ == "__main__":
    unittest.main()

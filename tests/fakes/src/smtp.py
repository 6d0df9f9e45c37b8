"""A relay on free ports: one for STARTTLS, one secret from its beginning. Says what it got, a line of JSON for each mail.

Who is written to decides how it fails: later@, nobody@, blocked@, grey@, shut@; and a word in the subject: [full], [broken],
[refused], [cut], [slow]. Only the first mail of a subject fails with [once], [closing once], [short once], [cut once].
"""

import asyncio
import base64
import json
import logging
import ssl
import sys
import warnings

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

RECEIVERS = {
    "later": "450 4.2.1 The mailbox is busy",
    "nobody": "550 5.1.1 There is no such mailbox",
    "blocked": "550 5.7.1 Refused by policy",
    "grey": "451 4.7.1 Greylisted, come back later",
    "shut": "421 4.3.2 The relay is going down",
}
WORDS = {
    "full": "552 5.3.4 The mail is too big",
    "broken": "451 4.3.0 Something went wrong here",
    "refused": "554 5.6.0 No such content here",
}
PASSING = {
    "once": "451 4.3.0 Once more, please",
    "closing once": "421 4.3.2 The relay is going down",
    "short once": "452 4.3.1 There is no room just now",
}
seen = set()

# Clients that go away in the middle are what this is for.
logging.getLogger("mail.log").setLevel(logging.CRITICAL + 1)
logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
warnings.simplefilter("ignore")


class Relay:
    async def handle_RCPT(self, server, session, envelope, address, options):
        reply = RECEIVERS.get(address.split("@")[0])
        if reply:
            return reply
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        content = envelope.content
        subject = next((line for line in content.split(b"\r\n") if line.lower().startswith(b"subject:")), b"").decode()
        for word, reply in WORDS.items():
            if f"[{word}]" in subject:
                return reply
        first = subject not in seen
        seen.add(subject)
        for word, reply in PASSING.items():
            if f"[{word}]" in subject and first:
                return reply
        told = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "content": base64.b64encode(content).decode(),
            "secret": server.transport.get_extra_info("ssl_object") is not None,
            "login": session.authenticated and session.auth_data.login.decode(),
        }
        print(json.dumps(told), flush=True)
        if "[cut]" in subject or ("[cut once]" in subject and first):
            server.transport.abort()
        if "[slow]" in subject:
            await asyncio.sleep(3600)
        return "250 2.0.0 Queued as 1"


def authenticator(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and data.login == b"ada" and data.password == b"correct horse"
    return AuthResult(success=good, handled=False, auth_data=data)


async def main():
    certificate, key = sys.argv[1:3]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    common = {"hostname": "relay.example", "auth_required": True, "authenticator": authenticator, "enable_SMTPUTF8": True}
    loop = asyncio.get_running_loop()
    begun = await loop.create_server(
        lambda: SMTP(Relay(), tls_context=context, require_starttls=True, **common), "127.0.0.1", 0
    )
    secret = await loop.create_server(
        lambda: SMTP(Relay(), auth_require_tls=False, **common), "127.0.0.1", 0, ssl=context
    )
    ports = [server.sockets[0].getsockname()[1] for server in (begun, secret)]
    print(json.dumps(ports), flush=True)
    # It ends when whoever started it does.
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())

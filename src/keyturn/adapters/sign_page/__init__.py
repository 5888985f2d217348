"""The signing page: served on this machine, or by another operator, for one task at a time.

    task        what the page shows and signs, and what it may answer
    here        the page on this machine's localhost
    elsewhere   the page on another operator's host, which posts its answer to this machine
    answering   the small server that takes an answer, once, from the page alone
    files       the page's static files, to serve or to hand to another operator
    passkey     sign records with a passkey through the page

The page (`keyturn/web/sign_page`) shows what is signed from its bytes and computes the challenge itself; what comes back is
verified here before it goes anywhere. Nothing that the log's service serves runs in the page's origin.

This is NOT what makes a signature count: gates verify it by the roster (`crypto.webauthn`).
"""

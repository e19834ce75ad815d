"""Push with httpx, as servers in Python do.

python push_httpx.py URL CA_FILE PUSH_PEM TOKEN MAGIC     (pip install 'httpx[http2]')
"""

import ssl
import sys

import httpx

if len(sys.argv) != 6:
    sys.exit("usage: python push_httpx.py URL CA_FILE PUSH_PEM TOKEN MAGIC")
url, ca_file, push_pem, token, magic = sys.argv[1:]

context = ssl.create_default_context(cafile=ca_file)
context.load_cert_chain(push_pem)  # certificate and key; at Apple's, this alone says which topic you push to

with httpx.Client(http2=True, verify=context, timeout=5) as client:
    answer = client.post(f"{url}/3/device/{token}", json={"mdm": magic}, headers={"apns-push-type": "mdm"})

if answer.status_code == 200:
    print(f"accepted as {answer.headers['apns-id']}")
else:
    # The reason is Apple's word: BadDeviceToken, Unregistered, TooManyRequests...
    sys.exit(f"refused: {answer.status_code} {answer.json()['reason']}")

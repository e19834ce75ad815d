// Push with Node's own HTTP/2.
//
//   node push.js URL CA_FILE PUSH_PEM TOKEN MAGIC
import { readFileSync } from 'node:fs';
import { connect } from 'node:http2';

if (process.argv.length !== 7) {
  console.error('usage: node push.js URL CA_FILE PUSH_PEM TOKEN MAGIC');
  process.exit(1);
}
const [url, caFile, pushPem, token, magic] = process.argv.slice(2);
const identity = readFileSync(pushPem); // certificate and key

const session = connect(url, { ca: readFileSync(caFile), cert: identity, key: identity });
session.on('error', error => fail(`no connection: ${error.message}`));

const request = session.request({ ':method': 'POST', ':path': `/3/device/${token}`, 'apns-push-type': 'mdm' });
request.on('error', error => fail(`no answer: ${error.message}`));
request.setEncoding('utf8');

let headers;
let body = '';
request.on('response', given => (headers = given));
request.on('data', chunk => (body += chunk));
request.on('end', () => {
  session.close();
  if (headers[':status'] !== 200) return fail(`refused: ${headers[':status']} ${JSON.parse(body).reason}`);
  console.log(`accepted as ${headers['apns-id']}`);
});
request.end(JSON.stringify({ mdm: magic }));

function fail(text) {
  console.error(text);
  process.exitCode = 1;
  session.destroy();
}

// Sends pushes with the push clients of others, as their users write it.
//
//   node push.cjs CLIENT < order.json
//
// CLIENT is node-apn (@parse/node-apn), apn (its forerunner) or http2 (Node's own). The order says where to and what;
// the answer is one JSON object per push, in order, on standard output. Trust comes from NODE_EXTRA_CA_CERTS.
'use strict';

const fs = require('fs');

const order = JSON.parse(fs.readFileSync(0, 'utf8'));
const [host, port] = order.Address.split(':');

async function withNodeApn() {
  const apn = require('@parse/node-apn');
  const credential = order.SigningKey
    ? { token: { key: order.SigningKey, keyId: order.KeyID, teamId: order.TeamID } }
    : { cert: order.Certificate, key: order.Key };
  const provider = new apn.Provider({ ...credential, address: host, port: Number(port) });
  const send = async push => {
    const note = new apn.Notification();
    if (order.SigningKey) {
      note.alert = push.Magic;
    } else {
      note.mdm = push.Magic;
      note.pushType = 'mdm';
    }
    note.topic = order.Topic;
    const { sent, failed } = await provider.send(note, push.Token);
    return sent.length ? { status: 200 } : read(failed[0]);
  };
  const answers = await each(send);
  await provider.shutdown();
  return answers;
}

async function withApn() {
  const apn = require('apn');
  const provider = new apn.Provider({ cert: order.Certificate, key: order.Key, address: host, port: Number(port) });
  const answers = await each(async push => {
    const note = new apn.Notification();
    note.mdm = push.Magic;
    note.topic = order.Topic;
    const { sent, failed } = await provider.send(note, push.Token);
    return sent.length ? { status: 200 } : read(failed[0]);
  });
  provider.shutdown();
  return answers;
}

function read(failure) {
  const { status, response, error } = failure;
  return { status: Number(status) || 0, reason: response?.reason, timestamp: response?.timestamp, error: error?.message };
}

async function withHttp2() {
  const http2 = require('http2');
  const session = http2.connect(`https://${order.Address}`, {
    cert: fs.readFileSync(order.Certificate),
    key: fs.readFileSync(order.Key),
  });
  const answers = await each(
    push =>
      new Promise(resolve => {
        const request = session.request({ ':method': 'POST', ':path': `/3/device/${push.Token}` });
        const answer = {};
        let body = '';
        request.setEncoding('utf8');
        request.on('response', headers => Object.assign(answer, { status: headers[':status'], id: headers['apns-id'] }));
        request.on('data', chunk => (body += chunk));
        request.on('end', () => resolve({ ...answer, ...(body ? JSON.parse(body) : {}) }));
        request.on('error', error => resolve({ error: error.message }));
        request.end(JSON.stringify({ mdm: push.Magic }));
      })
  );
  session.close();
  return answers;
}

async function each(send) {
  if (order.Together) return Promise.all(order.Pushes.map(send));
  const answers = [];
  for (const push of order.Pushes) answers.push(await send(push));
  return answers;
}

const clients = { 'node-apn': withNodeApn, apn: withApn, http2: withHttp2 };
clients[process.argv[2]]().then(
  answers => {
    process.stdout.write(answers.map(answer => JSON.stringify(answer) + '\n').join(''), () => process.exit(0));
  },
  error => {
    console.error(error);
    process.exit(1);
  }
);

// Command courier is a device in Go: it gets a push token, prints it, and prints and acknowledges every push.
//
//	go run . ADDRESS DEVICE TOPIC [COUNT]
//
// With COUNT it ends after so many pushes. What goes over the wire is told in docs/courier.md.
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// Message is any frame: each kind uses some of its keys.
type Message struct {
	Kind      string              `msgpack:"kind"`
	ID        int64               `msgpack:"id,omitempty"`
	Version   int                 `msgpack:"version,omitempty"`
	Client    string              `msgpack:"client,omitempty"`
	Device    string              `msgpack:"device,omitempty"`
	Topic     string              `msgpack:"topic,omitempty"`
	Token     []byte              `msgpack:"token,omitempty"`
	Topics    map[string][][]byte `msgpack:"topics,omitempty"`
	Refused   map[string][][]byte `msgpack:"refused,omitempty"`
	Number    int64               `msgpack:"number,omitempty"`
	Numbers   []int64             `msgpack:"numbers,omitempty"`
	Payload   []byte              `msgpack:"payload,omitempty"`
	KeepAlive float64             `msgpack:"keep_alive,omitempty"`
	Reply     bool                `msgpack:"reply,omitempty"`
	Reason    string              `msgpack:"reason,omitempty"`
	Detail    string              `msgpack:"detail,omitempty"`
}

// Courier is a connection to the fake's courier port.
type Courier struct {
	conn   net.Conn
	silent time.Duration // the longest that the server may be silent
}

func (c *Courier) send(message Message) {
	body, err := msgpack.Marshal(message)
	if err != nil {
		log.Fatal(err)
	}
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	if _, err := c.conn.Write(append(frame, body...)); err != nil {
		log.Fatal(err)
	}
}

// receive returns the next message that is not about keeping the connection alive.
func (c *Courier) receive() Message {
	for {
		var head [4]byte
		c.conn.SetReadDeadline(time.Now().Add(c.silent))
		if _, err := io.ReadFull(c.conn, head[:]); err != nil {
			log.Fatal(err)
		}
		body := make([]byte, binary.BigEndian.Uint32(head[:]))
		if _, err := io.ReadFull(c.conn, body); err != nil {
			log.Fatal(err)
		}
		var message Message
		if err := msgpack.Unmarshal(body, &message); err != nil {
			log.Fatal(err)
		}
		switch {
		case message.Kind == "error":
			log.Fatalf("%s: %s", message.Reason, message.Detail)
		case message.Kind == "ping" && !message.Reply:
			c.send(Message{Kind: "ping", ID: message.ID, Reply: true})
		case message.Kind != "ping":
			return message
		}
	}
}

// ask sends a request and returns its answer, for requests before the first subscription: no push comes in between.
func (c *Courier) ask(request Message) Message {
	c.send(request)
	return c.receive()
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 4 {
		log.Fatal("usage: courier ADDRESS DEVICE TOPIC [COUNT]")
	}
	device, topic, count := os.Args[2], os.Args[3], -1
	if len(os.Args) > 4 {
		count, _ = strconv.Atoi(os.Args[4])
	}
	conn, err := net.Dial("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	courier := &Courier{conn, 10 * time.Second}
	hello := courier.ask(Message{Kind: "hello", Version: 1, Client: device})
	courier.silent = time.Duration(2.5 * hello.KeepAlive * float64(time.Second))

	token := courier.ask(Message{Kind: "register", ID: 1, Device: device, Topic: topic}).Token
	fmt.Printf("%x\n", token) // this is what a device tells its MDM server, in TokenUpdate

	// Whatever waits for the device comes at once; so a push may come before the answer, and both are handled below.
	courier.send(Message{Kind: "subscribe", ID: 2, Topics: map[string][][]byte{topic: {token}}})
	var last int64
	for count != 0 {
		switch message := courier.receive(); message.Kind {
		case "subscribe":
			if len(message.Refused) > 0 {
				log.Fatal("the token was refused: it is retired")
			}
		case "unsubscribe":
			log.Fatal("another connection has taken the token over")
		case "push":
			if message.Number > last { // the same one again only means that its acknowledgement got lost
				fmt.Printf("%s\n", message.Payload)
				last = message.Number
				count--
			}
			courier.send(Message{Kind: "ack", Numbers: []int64{message.Number}})
		}
	}
}

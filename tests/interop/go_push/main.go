// Command push sends pushes with the push clients of others, as their users write it.
//
//	push CLIENT < order.json
//
// CLIENT is nanopush, buford or apns2. The order says where to and what; the answer is one JSON object per push, in
// order, on standard output. Trust comes from SSL_CERT_FILE, as for every Go program.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/RobotsAndPencils/buford/payload"
	bufordpush "github.com/RobotsAndPencils/buford/push"
	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/push/nanopush"
	"github.com/sideshow/apns2"
	"github.com/sideshow/apns2/token"
)

// Order is what standard input holds.
type Order struct {
	Address     string // host:port of the fake
	Certificate string // file
	Key         string // file
	Topic       string
	SigningKey  string // file; with KeyID and TeamID instead of a certificate
	KeyID       string
	TeamID      string
	Together    bool // all at once instead of one after the other
	Seconds     int  // how long one push may take; 30 if it is not said
	Pushes      []Push
}

func (order Order) patience() time.Duration {
	if order.Seconds == 0 {
		return 30 * time.Second
	}
	return time.Duration(order.Seconds) * time.Second
}

// Push is one push of an order.
type Push struct {
	Token   string
	Magic   string
	Payload string // instead of Magic, where the client can send what it likes
}

// Answer is what a client made of APNs' answer.
type Answer struct {
	Status    int    `json:"status,omitempty"`
	Reason    string `json:"reason,omitempty"`
	ID        string `json:"id,omitempty"`
	Timestamp int64  `json:"timestamp,omitempty"` // seconds
	Error     string `json:"error,omitempty"`
}

func main() {
	var order Order
	if err := json.NewDecoder(os.Stdin).Decode(&order); err != nil {
		fail(err)
	}
	clients := map[string]func(Order) []Answer{"nanopush": withNanopush, "buford": withBuford, "apns2": withApns2}
	with := clients[os.Args[1]]
	if with == nil {
		fail(fmt.Errorf("no client %q", os.Args[1]))
	}
	out := json.NewEncoder(os.Stdout)
	for _, answer := range with(order) {
		if err := out.Encode(answer); err != nil {
			fail(err)
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func identity(order Order) tls.Certificate {
	pair, err := tls.LoadX509KeyPair(order.Certificate, order.Key)
	if err != nil {
		fail(err)
	}
	return pair
}

// withNanopush uses NanoMDM's own push code. It pushes to Apple's name always, so the name is made to lead to the fake.
func withNanopush(order Order) []Answer {
	newClient := func(pair *tls.Certificate) (*http.Client, error) {
		transport := &http.Transport{
			TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{*pair}},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, order.Address)
			},
		}
		client := &http.Client{Transport: transport, Timeout: order.patience()}
		return client, nanopush.ForceHTTP2(client)
	}
	pair := identity(order)
	provider, err := nanopush.NewFactory(nanopush.WithNewClient(newClient)).NewPushProvider(&pair)
	if err != nil {
		fail(err)
	}
	var infos []*mdm.Push
	for _, push := range order.Pushes {
		info := &mdm.Push{PushMagic: push.Magic, Topic: order.Topic}
		if err := info.SetTokenString(push.Token); err != nil {
			fail(err)
		}
		infos = append(infos, info)
	}
	said := map[string]Answer{}
	take := func(infos []*mdm.Push) {
		responses, err := provider.Push(context.Background(), infos)
		if err != nil {
			fail(err)
		}
		for name, response := range responses {
			answer := Answer{ID: response.Id}
			if response.Err != nil {
				answer.Error = response.Err.Error()
				var refused *nanopush.JSONPushError
				if errors.As(response.Err, &refused) {
					answer.Reason, answer.Timestamp = refused.Reason, refused.Timestamp/1000
				}
			}
			said[name] = answer
		}
	}
	if order.Together {
		take(infos)
	}
	var answers []Answer
	for _, info := range infos {
		if !order.Together {
			take([]*mdm.Push{info})
		}
		answers = append(answers, said[info.Token.String()])
	}
	return answers
}

// withBuford uses buford, the push code of MicroMDM and of Fleet's and NanoMDM's past.
func withBuford(order Order) []Answer {
	client, err := bufordpush.NewClient(identity(order))
	if err != nil {
		fail(err)
	}
	client.Timeout = order.patience()
	service := bufordpush.NewService(client, "https://"+order.Address)
	return each(order, func(push Push) Answer {
		body := []byte(push.Payload)
		if push.Payload == "" {
			if body, err = json.Marshal(payload.MDM{Token: push.Magic}); err != nil {
				fail(err)
			}
		}
		id, err := service.Push(push.Token, nil, body)
		answer := Answer{ID: id}
		if err != nil {
			answer.Error = err.Error()
			var refused *bufordpush.Error
			if errors.As(err, &refused) {
				answer.Status, answer.Reason = refused.Status, refused.Reason.Error()
				if !refused.Timestamp.IsZero() {
					answer.Timestamp = refused.Timestamp.Unix()
				}
			}
		} else {
			answer.Status = http.StatusOK
		}
		return answer
	})
}

// withApns2 uses sideshow/apns2, with a certificate or with a provider token.
func withApns2(order Order) []Answer {
	var client *apns2.Client
	if order.SigningKey != "" {
		key, err := token.AuthKeyFromFile(order.SigningKey)
		if err != nil {
			fail(err)
		}
		client = apns2.NewTokenClient(&token.Token{AuthKey: key, KeyID: order.KeyID, TeamID: order.TeamID})
	} else {
		client = apns2.NewClient(identity(order))
	}
	client.Host = "https://" + order.Address
	return each(order, func(push Push) Answer {
		body := push.Payload
		if body == "" {
			body = fmt.Sprintf(`{"mdm":%q}`, push.Magic)
		}
		kind := apns2.PushTypeMDM
		if order.SigningKey != "" {
			kind = apns2.PushTypeAlert
		}
		ctx, cancel := context.WithTimeout(context.Background(), order.patience())
		defer cancel()
		response, err := client.PushWithContext(ctx, &apns2.Notification{
			DeviceToken: push.Token, Topic: order.Topic, PushType: kind, Payload: []byte(body),
		})
		if err != nil {
			return Answer{Error: err.Error()}
		}
		answer := Answer{Status: response.StatusCode, Reason: response.Reason, ID: response.ApnsID}
		if !response.Timestamp.IsZero() {
			answer.Timestamp = response.Timestamp.Unix()
		}
		return answer
	})
}

func each(order Order, send func(Push) Answer) []Answer {
	answers := make([]Answer, len(order.Pushes))
	var open sync.WaitGroup
	for at, push := range order.Pushes {
		open.Add(1)
		one := func() {
			defer open.Done()
			answers[at] = send(push)
		}
		if order.Together {
			go one()
		} else {
			one()
		}
	}
	open.Wait()
	return answers
}

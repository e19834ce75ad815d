// Command push sends one MDM push with net/http, as servers in Go do.
//
//	go run . URL CA_FILE PUSH_PEM TOKEN MAGIC
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"golang.org/x/net/http2"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 6 {
		log.Fatal("usage: push URL CA_FILE PUSH_PEM TOKEN MAGIC")
	}
	url, caFile, pushPEM, token, magic := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	client, err := newClient(caFile, pushPEM)
	if err != nil {
		log.Fatal(err)
	}
	id, err := push(client, url, token, magic)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("accepted as", id)
}

// newClient makes a client that shows the push certificate, trusts the fake and speaks HTTP/2.
func newClient(caFile, pushPEM string) (*http.Client, error) {
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New(caFile + ": no certificate in it")
	}
	identity, err := tls.LoadX509KeyPair(pushPEM, pushPEM) // one file holds both
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:           http.ProxyFromEnvironment,
		TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{identity}},
	}
	if err := http2.ConfigureTransport(transport); err != nil {
		return nil, err
	}
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}, nil
}

// Refusal is what APNs answers instead of 200.
type Refusal struct {
	Status    int    `json:"-"`
	Reason    string `json:"reason"`
	Timestamp int64  `json:"timestamp"` // milliseconds; with 410: since when the token is inactive
}

func (r *Refusal) Error() string { return fmt.Sprintf("refused: %d %s", r.Status, r.Reason) }

// push returns the apns-id, or a *Refusal, or the error of the connection.
func push(client *http.Client, url, token, magic string) (string, error) {
	payload, err := json.Marshal(map[string]string{"mdm": magic})
	if err != nil {
		return "", err
	}
	request, err := http.NewRequest(http.MethodPost, url+"/3/device/"+token, bytes.NewReader(payload))
	if err != nil {
		return "", err
	}
	request.Header.Set("apns-push-type", "mdm")
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		refusal := &Refusal{Status: response.StatusCode}
		if err := json.NewDecoder(response.Body).Decode(refusal); err != nil {
			return "", err
		}
		return "", refusal
	}
	return response.Header.Get("apns-id"), nil
}

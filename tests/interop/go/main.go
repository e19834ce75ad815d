// Command foreign puts the parsers of NanoMDM, of scepserver and of Go itself behind one pipe.
//
// `foreign parse` reads questions as JSON lines and answers each with one line: {"ok": true, "found": {...}} or
// {"ok": false, "error": "..."}. `foreign apns` is an HTTP/2 server by Go's net/http in the place of APNs: it prints
// its address, then every request it was sent, as JSON lines.
package main

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"

	"github.com/micromdm/nanomdm/cryptoutil"
	httpmdm "github.com/micromdm/nanomdm/http/mdm"
	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/plist"
	"github.com/smallstep/pkcs7"
	"github.com/smallstep/scep"
)

type question struct {
	What        string
	Data        []byte
	Text        string
	Certificate []byte
	Key         []byte
	Authorities [][]byte
}

type found map[string]any

var parsers = map[string]func(question) (found, error){
	"checkin":        checkin,
	"report":         report,
	"command":        command,
	"plist":          anyPlist,
	"json":           anyJSON,
	"form":           form,
	"mdm-signature":  mdmSignature,
	"signed":         signed,
	"header-nginx":   headerNginx,
	"header-rfc9440": headerRFC9440,
	"push-topic":     pushTopic,
	"certificate":    certificate,
	"scep-request":   scepRequest,
	"scep-reply":     scepReply,
	"scep-ca-chain":  scepChain,
}

func checkin(q question) (found, error) {
	message, err := mdm.DecodeCheckin(q.Data)
	if err != nil {
		return nil, err
	}
	switch m := message.(type) {
	case *mdm.Authenticate:
		return found{"MessageType": m.MessageType.MessageType, "UDID": m.UDID, "Topic": m.Topic, "SerialNumber": m.SerialNumber}, nil
	case *mdm.TokenUpdate:
		return found{"MessageType": m.MessageType.MessageType, "UDID": m.UDID, "Topic": m.Topic, "Token": m.Token.String(),
			"PushMagic": m.PushMagic, "UnlockToken": len(m.UnlockToken)}, nil
	case *mdm.CheckOut:
		return found{"MessageType": m.MessageType.MessageType, "UDID": m.UDID}, nil
	}
	return nil, fmt.Errorf("a %T", message)
}

func report(q question) (found, error) {
	results, err := mdm.DecodeCommandResults(q.Data)
	if err != nil {
		return nil, err
	}
	chain := []found{}
	for _, item := range results.ErrorChain {
		chain = append(chain, found{"ErrorCode": item.ErrorCode, "ErrorDomain": item.ErrorDomain,
			"LocalizedDescription": item.LocalizedDescription})
	}
	return found{"UDID": results.UDID, "Status": results.Status, "CommandUUID": results.CommandUUID, "ErrorChain": chain}, nil
}

func command(q question) (found, error) {
	c, err := mdm.DecodeCommand(q.Data)
	if err != nil {
		return nil, err
	}
	return found{"CommandUUID": c.CommandUUID, "RequestType": c.Command.RequestType}, nil
}

func anyPlist(q question) (found, error) {
	var value any
	if err := plist.Unmarshal(q.Data, &value); err != nil {
		return nil, err
	}
	return found{"value": value}, nil
}

func anyJSON(q question) (found, error) {
	var value any
	decoder := json.NewDecoder(bytes.NewReader(q.Data))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	return found{"value": value}, nil
}

func form(q question) (found, error) {
	values, err := url.ParseQuery(string(q.Data))
	if err != nil {
		return nil, err
	}
	answer := found{}
	for key, list := range values {
		answer[key] = list
	}
	return answer, nil
}

func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

func mdmSignature(q question) (found, error) {
	signer, err := cryptoutil.VerifyMdmSignature(q.Text, q.Data)
	if err != nil {
		return nil, err
	}
	return found{"signer": fingerprint(signer)}, nil
}

func signed(q question) (found, error) {
	message, err := pkcs7.Parse(q.Data)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, der := range q.Authorities {
		authority, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		pool.AddCert(authority)
	}
	if err := message.VerifyWithChain(pool); err != nil {
		return nil, err
	}
	return found{"content": message.Content, "signer": fingerprint(message.GetOnlySigner())}, nil
}

func headerNginx(q question) (found, error) {
	c, err := httpmdm.ExtractQueryEscapedPEM(q.Text)
	if err != nil {
		return nil, err
	}
	return found{"certificate": fingerprint(c)}, nil
}

func headerRFC9440(q question) (found, error) {
	c, err := httpmdm.ExtractRFC9440(q.Text)
	if err != nil {
		return nil, err
	}
	return found{"certificate": fingerprint(c)}, nil
}

func pushTopic(q question) (found, error) {
	c, err := x509.ParseCertificate(q.Data)
	if err != nil {
		return nil, err
	}
	topic, err := cryptoutil.TopicFromCert(c)
	if err != nil {
		return nil, err
	}
	return found{"topic": topic}, nil
}

func certificate(q question) (found, error) {
	c, err := x509.ParseCertificate(q.Data)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	for _, der := range q.Authorities {
		authority, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		roots.AddCert(authority)
	}
	options := x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, CurrentTime: c.NotBefore.Add(1)}
	if _, err := c.Verify(options); err != nil {
		return nil, err
	}
	return found{"subject": c.Subject.String(), "issuer": c.Issuer.String()}, nil
}

func pair(q question) (*x509.Certificate, crypto.PrivateKey, error) {
	c, err := x509.ParseCertificate(q.Certificate)
	if err != nil {
		return nil, nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(q.Key)
	return c, key, err
}

func scepRequest(q question) (found, error) {
	authority, key, err := pair(q)
	if err != nil {
		return nil, err
	}
	message, err := scep.ParsePKIMessage(q.Data)
	if err != nil {
		return nil, err
	}
	if err := message.DecryptPKIEnvelope(authority, key); err != nil {
		return nil, err
	}
	request := message.CSRReqMessage
	if err := request.CSR.CheckSignature(); err != nil {
		return nil, err
	}
	return found{"messageType": string(message.MessageType), "transactionID": string(message.TransactionID),
		"subject": request.CSR.Subject.String(), "challenge": request.ChallengePassword}, nil
}

func scepReply(q question) (found, error) {
	authorities := []*x509.Certificate{}
	for _, der := range q.Authorities {
		authority, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		authorities = append(authorities, authority)
	}
	message, err := scep.ParsePKIMessage(q.Data, scep.WithCACerts(authorities))
	if err != nil {
		return nil, err
	}
	answer := found{"status": string(message.PKIStatus), "transactionID": string(message.TransactionID)}
	if message.PKIStatus != scep.SUCCESS {
		answer["failInfo"] = string(message.FailInfo)
		return answer, nil
	}
	signer, key, err := pair(q)
	if err != nil {
		return nil, err
	}
	if err := message.DecryptPKIEnvelope(signer, key); err != nil {
		return nil, err
	}
	answer["certificate"] = fingerprint(message.CertRepMessage.Certificate)
	return answer, nil
}

func scepChain(q question) (found, error) {
	certificates, err := scep.CACerts(q.Data)
	if err != nil {
		return nil, err
	}
	return found{"count": len(certificates)}, nil
}

func parse() error {
	lines := bufio.NewReader(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		var q question
		if err := json.Unmarshal(line, &q); err != nil {
			return err
		}
		if err := out.Encode(answer(q)); err != nil {
			return err
		}
	}
}

func answer(q question) (result map[string]any) {
	defer func() {
		if trouble := recover(); trouble != nil {
			result = map[string]any{"ok": false, "error": fmt.Sprint(trouble)}
		}
	}()
	parser, known := parsers[q.What]
	if !known {
		return map[string]any{"ok": false, "error": "no parser for " + q.What}
	}
	values, err := parser(q)
	if err != nil {
		return map[string]any{"ok": false, "error": err.Error()}
	}
	return map[string]any{"ok": true, "found": values}
}

func apns(arguments []string) error {
	flags := flag.NewFlagSet("apns", flag.ContinueOnError)
	cert := flags.String("cert", "", "PEM of the server's certificate")
	key := flags.String("key", "", "PEM of its key")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	handler := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		subject := ""
		if len(r.TLS.PeerCertificates) > 0 {
			subject, _ = cryptoutil.TopicFromCert(r.TLS.PeerCertificates[0])
		}
		_ = out.Encode(map[string]any{"proto": r.Proto, "method": r.Method, "path": r.URL.Path, "headers": r.Header,
			"body": string(body), "topic": subject, "alpn": r.TLS.NegotiatedProtocol})
		w.Header().Set("apns-id", "8A6E1F90-1C2B-4D3E-9F40-5A6B7C8D9E0F")
		w.WriteHeader(http.StatusOK)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(handler), TLSConfig: &tls.Config{ClientAuth: tls.RequireAnyClientCert}}
	_ = out.Encode(map[string]any{"address": listener.Addr().String()})
	return server.ServeTLS(listener, *cert, *key)
}

func main() {
	err := errors.New("say parse or apns")
	if len(os.Args) > 1 && os.Args[1] == "parse" {
		err = parse()
	} else if len(os.Args) > 1 && os.Args[1] == "apns" {
		err = apns(os.Args[2:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

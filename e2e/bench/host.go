package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/valetkey/valetkey/localapi"
)

// roleHost makes a copy of this program the host that asks over the socket: a process of its own, which Valet Key names
// as it names any other. It takes one order on its standard input and writes the outcome to its standard output.
const roleHost = "host"

// What a host can be told to do.
const (
	doToken        = "token"          // one request
	doNew          = "new"            // requests to both in turn, each on a new connection
	doKeepAlive    = "keep-alive"     // the same on one connection
	doPackageNew   = "package-new"    // the same through package localapi, beside net/http and encoding/json
	doPackageKeep  = "package-keep"   //
	doCrowd        = "crowd"          // crowd requests at once to each of both
	crowd          = 1000             // requests at once
	warmUp, pairs  = 10, 300          // blocks not counted, blocks counted
	block          = 10               // requests to the one before it is the other's turn
	requestTimeout = 30 * time.Second //
	maxAnswer      = 1 << 20          // bytes
)

// order is what a host is to do.
type order struct {
	Do         string
	Ours, Bare string // sockets
	Resource   string
	Blocks     int // of requests to count, where both take turns
}

// outcome is what it did.
type outcome struct {
	Answer     []byte          // of one request
	Ours, Bare []time.Duration // of each request, of each crowd
	Tokens     int             // how many different tokens a crowd got
}

// ask has a host carry out an order.
func (w *world) ask(ctx context.Context, o order) (*outcome, error) {
	told, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, w.host, roleHost)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(told), &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("the host: %w\n%s", err, said.Bytes())
	}
	result := new(outcome)
	return result, json.Unmarshal(out.Bytes(), result)
}

func hostRole(ctx context.Context) error {
	var o order
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return err
	}
	body, err := json.Marshal(o.request())
	if err != nil {
		return err
	}
	var result outcome
	switch o.Do {
	case doToken:
		result.Answer, err = post(ctx, newClient(o.Ours, false), body)
	case doNew, doKeepAlive:
		ours, bare := newClient(o.Ours, o.Do == doKeepAlive), newClient(o.Bare, o.Do == doKeepAlive)
		err = result.turns(o.Blocks,
			func() error { _, err := post(ctx, ours, body); return err },
			func() error { _, err := post(ctx, bare, body); return err })
	case doPackageNew, doPackageKeep:
		bare := newClient(o.Bare, o.Do == doPackageKeep)
		err = result.turns(o.Blocks, o.throughPackage(ctx), func() error { return o.throughJSON(ctx, bare) })
	case doCrowd:
		err = o.crowd(ctx, body, &result)
	default:
		err = fmt.Errorf("cannot do %q", o.Do)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

func (o order) request() localapi.TokenRequest {
	return localapi.TokenRequest{Resource: o.Resource, MinValidS: 1}
}

// newClient is the same for ours and the floor: net/http on a Unix socket.
func newClient(socket string, keepAlive bool) *http.Client {
	return &http.Client{Timeout: requestTimeout, Transport: &http.Transport{
		DisableKeepAlives: !keepAlive,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}
}

// post makes one request and reads the whole answer.
func post(ctx context.Context, client *http.Client, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost/v1/token", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP status %d: %s", resp.StatusCode, answer)
	}
	return answer, err
}

// throughPackage asks as a Go host does that uses package localapi.
func (o order) throughPackage(ctx context.Context) func() error {
	client := localapi.NewClient(o.Ours)
	return func() error {
		if o.Do == doPackageNew {
			client = localapi.NewClient(o.Ours)
			defer client.Close()
		}
		token, err := client.Token(ctx, o.request())
		if err == nil && token.AccessToken.Empty() {
			err = errors.New("an answer without a token")
		}
		return err
	}
}

// throughJSON asks as a Go host does that has only the standard library.
func (o order) throughJSON(ctx context.Context, client *http.Client) error {
	body, err := json.Marshal(o.request())
	if err != nil {
		return err
	}
	answer, err := post(ctx, client, body)
	if err != nil {
		return err
	}
	_, err = tokenIn(answer)
	return err
}

// answer is what a host reads of an answer.
type answer struct {
	AccessToken string    `json:"access_token"`
	TokenType   string    `json:"token_type"`
	ExpiresAt   time.Time `json:"expires_at"`
	Scope       string    `json:"scope"`
	Resource    string    `json:"resource"`
	Issuer      string    `json:"issuer"`
	Account     string    `json:"account"`
}

func tokenIn(content []byte) (*answer, error) {
	a := new(answer)
	if err := json.Unmarshal(content, a); err != nil {
		return nil, err
	}
	if a.AccessToken == "" {
		return nil, errors.New("an answer without a token")
	}
	return a, nil
}

// blank is an answer of the same length and form with nothing in place of the token.
func blank(content []byte) string {
	a, err := tokenIn(content)
	if err != nil {
		return string(content)
	}
	return string(bytes.Replace(content, []byte(a.AccessToken), bytes.Repeat([]byte("x"), len(a.AccessToken)), 1))
}

// turns makes requests to ours and to the floor in turn, in blocks, and notes how long each took.
func (r *outcome) turns(counted int, ours, bare func() error) error {
	for pair := range warmUp + counted {
		sides := []struct {
			do    func() error
			times *[]time.Duration
		}{{ours, &r.Ours}, {bare, &r.Bare}}
		if pair%2 == 1 { // what the one leaves behind falls on the other as often as the other way round
			sides[0], sides[1] = sides[1], sides[0]
		}
		for _, side := range sides {
			for range block {
				start := time.Now()
				if err := side.do(); err != nil {
					return err
				}
				if took := time.Since(start); pair >= warmUp {
					*side.times = append(*side.times, took)
				}
			}
		}
	}
	return nil
}

// crowd has both asked by many at once, each on a connection of its own.
func (o order) crowd(ctx context.Context, body []byte, r *outcome) error {
	tokens := map[string]bool{}
	for _, side := range []struct {
		socket string
		times  *[]time.Duration
	}{{o.Ours, &r.Ours}, {o.Bare, &r.Bare}} {
		answers, errs := make([][]byte, crowd), make([]error, crowd)
		var group sync.WaitGroup
		gate := make(chan struct{})
		for i := range crowd {
			group.Go(func() {
				client := newClient(side.socket, false)
				<-gate
				answers[i], errs[i] = post(ctx, client, body)
			})
		}
		start := time.Now()
		close(gate)
		group.Wait()
		*side.times = append(*side.times, time.Since(start))
		if err := errors.Join(errs...); err != nil {
			return err
		}
		if side.socket == o.Bare {
			break
		}
		for _, content := range answers {
			a, err := tokenIn(content)
			if err != nil {
				return err
			}
			if time.Now().After(a.ExpiresAt) {
				return errors.New("a token that has run out was handed out")
			}
			tokens[a.AccessToken] = true
		}
	}
	r.Tokens = len(tokens)
	return nil
}

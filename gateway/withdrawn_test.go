package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valetkey/valetkey/face"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

// TestWithdrawn: what the person takes back ends at once what is open with it, over a real socket and with a real
// broker: the server sees the end, and a host that waits for an answer is told why there is none.
func TestWithdrawn(t *testing.T) {
	wish := func(about func(resource string) face.Wish) func(*site) error {
		return func(s *site) error { return s.head.Wish(s.t.Context(), about(s.resource)) }
	}
	for name, c := range map[string]struct {
		take func(*site) error
		says string
	}{
		"forgotten": {wish(func(resource string) face.Wish { return face.WishForget{Resource: resource} }), "the sign-in to 127.0.0.1… was forgotten; ask again to have the person sign in anew"},
		"revoked":   {wish(func(resource string) face.Wish { return face.WishRevoke{Resource: resource, Host: claude.Key} }), "the person took back the consent to use 127.0.0.1…; ask again to have them decide anew"},
		"paused": {func(s *site) error {
			s.mu.Lock()
			s.person = func(face.Question) face.Answer { return face.Answer{Answered: true, Pause: true} }
			s.mu.Unlock()
			_, err := s.head.Token(s.t.Context(), &peer.Peer{Host: claude}, localapi.TokenRequest{Resource: s.resource, Scopes: []string{"admin"}})
			if !errors.Is(err, localapi.ErrConsentDenied) {
				return err
			}
			return nil
		}, "this program is paused: you said that you had not started what it asked for; the person can resume it in Valet Key"},
	} {
		t.Run(name, func(t *testing.T) {
			begun, ended, arrived := make(chan string, 10), make(chan string, 10), make(chan string, 10)
			s := newSite(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				kind := r.Header.Get("X-Kind")
				if kind == "" {
					io.WriteString(w, "{}")
					return
				}
				if kind == "JSON" {
					w.Header().Set("Content-Type", "application/json")
				} else {
					w.Header().Set("Content-Type", "text/event-stream")
				}
				if kind != "silent" {
					io.WriteString(w, map[string]string{"event": "data: {}\r\n\r\n", "half": "data: {", "JSON": "{", "stream": ": open\n\n"}[kind])
					w.(http.Flusher).Flush()
				}
				begun <- kind
				<-r.Context().Done()
				ended <- kind
			}))
			s.do("POST", at(s.resource), call) // sign-in and consent
			kinds := []string{"silent", "event", "half", "JSON", "stream"}
			answers := map[string]chan string{}
			for _, kind := range kinds {
				method := map[bool]string{true: "GET", false: "POST"}[kind == "stream"]
				answer := make(chan string, 1)
				answers[kind] = answer
				go func() { answer <- s.whole(method, kind, arrived) }()
			}
			for range kinds {
				<-begun
			}
			for range len(kinds) - 1 { // one of them sends nothing
				<-arrived
			}
			if err := c.take(s); err != nil {
				t.Fatal(err)
			}
			problem := "Valet Key: " + c.says + "; whether " + hostport(s.resource) + " did what was asked is not known"
			for range kinds {
				select {
				case <-ended:
				case <-time.After(10 * time.Second):
					t.Fatal("a stream goes on at the server")
				}
			}
			for kind, want := range map[string]string{
				"silent": `200 {"jsonrpc":"2.0","id":7,"error":{…"message":"` + problem + `"…`,
				"event":  "200 data: {}\r\n\r\nevent: message\ndata: " + `{"jsonrpc":"2.0","id":7,"error":{…"message":"` + problem + `"…` + "\n\n",
				"half":   "200 data: {, unexpected EOF", "JSON": "200 {, unexpected EOF", "stream": "200 : open\n\n, unexpected EOF",
			} {
				if got := <-answers[kind]; !like(got, want) {
					t.Errorf("%s: the host got %q, want %q", kind, got, want)
				}
			}
		})
	}
}

// whole makes a request of a kind and returns all of its answer. It tells arrived when that begins.
func (s *site) whole(method, kind string, arrived chan<- string) string {
	req, err := http.NewRequestWithContext(s.t.Context(), method, at(s.resource), strings.NewReader(map[string]string{"POST": call}[method]))
	if err != nil {
		return err.Error()
	}
	req.Header.Set("X-Kind", kind)
	resp, err := s.host.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body := bufio.NewReader(resp.Body)
	body.Peek(1)
	arrived <- kind
	all, err := io.ReadAll(body)
	if err != nil {
		return fmt.Sprintf("%d %s, %v", resp.StatusCode, all, err)
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, all)
}

// like reports whether s is pattern, in which "…" stands for anything.
func like(s, pattern string) bool {
	parts := strings.Split(pattern, "…")
	for i, part := range parts {
		at := strings.Index(s, part)
		if at < 0 || i == 0 && at > 0 {
			return false
		}
		s = s[at+len(part):]
	}
	return true
}

// TestWithdrawnWhileWaiting: who waits for the person when a pause comes is told of the pause, and nothing was sent.
func TestWithdrawnWhileWaiting(t *testing.T) {
	sent := 0
	address := at(server(t, func(http.ResponseWriter, *http.Request) { sent++ }))
	r := newRig(t, Config{Token: func(ctx context.Context, _ *peer.Peer, _ localapi.TokenRequest, withdrawn func(error)) (*localapi.Token, error) {
		withdrawn(localapi.Errorf(localapi.ErrConsentDenied, "this program is paused"))
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	if _, body := r.do("POST", address, call); r.read(body).Error.Message != "Valet Key: this program is paused" || sent > 0 {
		t.Errorf("sent %d times; %s", sent, body)
	}
}

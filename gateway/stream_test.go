package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

// open makes a request and returns its answer unread.
func (r *rig) open(ctx context.Context, method, address, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	return r.host.Do(req)
}

// TestEventsComeAtOnce: each event is at the host before the server sends the next, and the head before the first.
func TestEventsComeAtOnce(t *testing.T) {
	heard := make(chan struct{})
	address := at(server(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		for i := range 3 {
			select {
			case <-heard:
			case <-r.Context().Done():
				return
			}
			fmt.Fprintf(w, "id: %d\ndata: {}\n\n", i)
			w.(http.Flusher).Flush()
		}
	}))
	r := newRig(t, Config{Token: (&tokens{}).token})
	for _, method := range []string{"GET", "POST"} {
		resp, err := r.open(t.Context(), method, address, "{}")
		if err != nil || resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatal(resp, err)
		}
		events := bufio.NewReader(resp.Body)
		for i := range 3 {
			heard <- struct{}{}
			for _, want := range []string{fmt.Sprintf("id: %d\n", i), "data: {}\n", "\n"} {
				if line, err := events.ReadString('\n'); err != nil || line != want {
					t.Fatalf("%q, %v; want %q", line, err, want)
				}
			}
		}
		if rest, err := io.ReadAll(events); len(rest) > 0 || err != nil {
			t.Errorf("after the end: %q, %v", rest, err)
		}
		resp.Body.Close()
	}
}

// TestHangUp: the end of one side is the end of the other, before the answer and in the middle of it.
func TestHangUp(t *testing.T) {
	ended := make(chan error, 1)
	begun := make(chan struct{}, 1)
	address := at(server(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.Header.Get("X-When") == "later" {
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
		}
		begun <- struct{}{}
		<-r.Context().Done()
		ended <- r.Context().Err()
	}))
	r := newRig(t, Config{Token: (&tokens{}).token})
	for _, when := range []string{"at once", "later"} {
		ctx, hangUp := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "POST", address, strings.NewReader(call))
		req.Header.Set("X-When", when)
		go func() { <-begun; hangUp() }()
		resp, err := r.host.Do(req)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", when, err)
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: the server saw %v", when, err)
		}
	}
}

// TestServerBreaksOff: half an answer does not look like a whole one, with a length and without.
func TestServerBreaksOff(t *testing.T) {
	for _, length := range []string{"", "100"} {
		address := at(server(t, func(w http.ResponseWriter, r *http.Request) {
			if length != "" {
				w.Header().Set("Content-Length", length)
			}
			io.WriteString(w, "data: half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}))
		r := newRig(t, Config{Token: (&tokens{}).token})
		resp, err := r.open(t.Context(), "POST", address, "{}")
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) || string(body) != "data: half" {
			t.Errorf("length %q: %q, %v", length, body, err)
		}
		resp.Body.Close()
	}
}

// TestNoAnswer: what the host is told of a server that gives none.
func TestNoAnswer(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	stranger := httptest.NewUnstartedServer(http.NotFoundHandler()) // with a certificate nobody trusts
	stranger.Config.ErrorLog = log.New(io.Discard, "", 0)
	stranger.StartTLS()
	defer stranger.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for name, c := range map[string]struct{ address, code, says string }{
		"hangs up":     {server(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), "unavailable", "whether it did what was asked is not known"},
		"echoes":       {echoer(t), "unavailable", "whether it did what was asked is not known"},
		"gone":         {"http://" + gone.Addr().String(), "unavailable", "cannot be reached: connect"},
		"stranger":     {stranger.URL, "unavailable", "cannot be reached: tls: failed to verify certificate"},
		"no TLS":       {"https://" + hostport(plain.URL), "unavailable", "cannot be reached: "},
		"no such name": {"https://mcp.invalid/mcp", "unavailable", "cannot be reached: "},
		"metadata":     {"https://169.254.169.254/mcp", "bad_request", "a link-local address"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Config{Token: (&tokens{}).token})
			resp, body := r.do("POST", at(c.address), call)
			if resp.StatusCode != 200 || resp.Header.Get(localapi.HeaderError) != c.code || !strings.Contains(r.read(body).Error.Message, c.says) || strings.Contains(body, canary) {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
		})
	}
}

// echoer answers with what it was sent, which is no HTTP.
func echoer(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			buffer := make([]byte, 4<<10)
			n, _ := conn.Read(buffer)
			lines := strings.Split(string(buffer[:n]), "\r\n")
			for _, line := range lines {
				if strings.HasPrefix(line, "Authorization") {
					io.WriteString(conn, line)
				}
			}
			conn.Close()
		}
	}()
	return "http://" + ln.Addr().String() + "/mcp"
}

// TestRedirects: BRG-30.
func TestRedirects(t *testing.T) {
	var elsewhere atomic.Int32
	other := server(t, func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
	for name, c := range map[string]struct {
		status   int
		location string
		followed bool
		says     string
	}{
		"slash":          {307, "/mcp/", true, ""},
		"for ever":       {308, "/mcp/", true, ""},
		"absolute":       {307, "SELF/mcp/?x=1#f", true, ""},
		"to itself":      {307, "/mcp", false, "redirects (HTTP 307) to SELF/mcp"},
		"found":          {302, "/mcp/", false, "redirects (HTTP 302) to SELF/mcp/ in a way that cannot be followed"},
		"see other":      {303, "/mcp/", false, "redirects (HTTP 303)"},
		"moved":          {301, "/mcp/", false, "redirects (HTTP 301)"},
		"elsewhere":      {307, other, false, "SELF redirects (HTTP 307) to OTHER, and a token is not carried there"},
		"elsewhere, 302": {302, other, false, "SELF redirects (HTTP 302) to OTHER"},
		"another scheme": {308, "https:SELF/mcp", false, "redirects (HTTP 308) to https:"},
		"a user":         {307, "http://u:p@HOST/mcp/", false, "redirects (HTTP 307)"},
		"nowhere":        {307, "", false, "redirects (HTTP 307) to nowhere"},
		"unreadable":     {307, "http://[", false, "redirects (HTTP 307) to nowhere"},
		"a script":       {307, "javascript:alert(1)", false, "redirects (HTTP 307)"},
	} {
		t.Run(name, func(t *testing.T) {
			elsewhere.Store(0)
			var self string
			var asked []string
			fill := func(s string) string {
				s = strings.ReplaceAll(s, "https:SELF", "https"+strings.TrimPrefix(self, "http"))
				return strings.NewReplacer("SELF", self, "HOST", hostport(self+"/"), "OTHER", strings.TrimSuffix(other, "/mcp")).Replace(s)
			}
			address := server(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				asked = append(asked, r.Method+" "+r.URL.String()+" "+r.Header.Get("Authorization")+" "+string(body))
				if r.URL.Path == "/mcp/" {
					io.WriteString(w, "done")
					return
				}
				if c.location != "" {
					w.Header().Set("Location", fill(c.location))
				}
				w.WriteHeader(c.status)
			})
			self = strings.TrimSuffix(address, "/mcp")
			r := newRig(t, Config{Token: (&tokens{}).token})
			resp, body := r.do("POST", at(address), call)
			if elsewhere.Load() > 0 {
				t.Error("another origin was asked")
			}
			if c.followed {
				if want := "POST " + strings.TrimSuffix(strings.TrimPrefix(fill(c.location), self), "#f") + " Bearer " + canary + "-1 " + call; body != "done" || len(asked) != 2 || asked[1] != want {
					t.Errorf("%s after %q", body, asked)
				}
				return
			}
			if says := r.read(body).Error.Message; resp.Header.Get(localapi.HeaderError) != "discovery" || !strings.Contains(says, fill(c.says)) || resp.Header.Get("Location") != "" {
				t.Errorf("%s after %q", says, asked)
			}
		})
	}
}

// TestOneWaitsOthersDoNot: a request that waits for the person holds up no other, of the same host at the same server.
func TestOneWaitsOthersDoNot(t *testing.T) {
	address := at(server(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "done") }))
	answered, waits := make(chan struct{}), make(chan struct{})
	var first atomic.Bool
	asked := &tokens{}
	r := newRig(t, Config{Token: func(ctx context.Context, from *peer.Peer, req localapi.TokenRequest, withdrawn func(error)) (*localapi.Token, error) {
		if first.CompareAndSwap(false, true) {
			close(waits)
			<-answered
		}
		return asked.token(ctx, from, req, withdrawn)
	}})
	slow := make(chan string)
	go func() {
		resp, err := r.open(context.Background(), "POST", address, call)
		if err != nil {
			slow <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		slow <- string(body)
	}()
	<-waits
	for range 20 {
		if _, body := r.do("POST", address, call); body != "done" {
			t.Fatal(body)
		}
	}
	close(answered)
	if body := <-slow; body != "done" {
		t.Error(body)
	}
}

// TestShutdownEndsStreams: the app does not wait for streams that have no end, and tells those who wait for a token.
func TestShutdownEndsStreams(t *testing.T) {
	streaming := make(chan struct{}, 1)
	address := at(server(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		streaming <- struct{}{}
		<-r.Context().Done()
	}))
	waits := make(chan struct{})
	asked := &tokens{}
	r := newRig(t, Config{Token: func(ctx context.Context, from *peer.Peer, req localapi.TokenRequest, withdrawn func(error)) (*localapi.Token, error) {
		if req.Resource == "https://mcp.example.com/mcp" {
			close(waits)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return asked.token(ctx, from, req, withdrawn)
	}})
	stream, err := r.open(t.Context(), "GET", address, "")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	<-streaming
	waiting := make(chan string, 1)
	go func() {
		resp, err := r.open(context.Background(), "POST", at("https://mcp.example.com/mcp"), call)
		if err != nil {
			waiting <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		waiting <- string(body)
	}()
	<-waits
	r.stop()
	if body, err := io.ReadAll(stream.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the stream ended with %q, %v", body, err)
	}
	if body := <-waiting; !strings.Contains(body, "Valet Key is closing") || !strings.Contains(body, `"id":7`) {
		t.Errorf("who waited was told %s", body)
	}
}

func TestBudgetCoolsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &budget{spent: map[string]time.Time{}}
		b.spend("a")
		time.Sleep(coolDown - time.Second)
		if wait, spent := b.left("a"); !spent || wait != time.Second {
			t.Errorf("%v, %v", wait, spent)
		}
		if _, spent := b.left("b"); spent {
			t.Error("another operation pays for it")
		}
		time.Sleep(time.Second)
		if _, spent := b.left("a"); spent {
			t.Error("it does not cool down")
		}
		for i := range 3 * maxSpent {
			b.spend(fmt.Sprint(i))
			time.Sleep(time.Millisecond)
		}
		if _, spent := b.left(fmt.Sprint(3*maxSpent - 1)); !spent || len(b.spent) > maxSpent {
			t.Errorf("%d are remembered", len(b.spent))
		}
	})
}

// zeros is content that nobody holds.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestLongMessages: up to a bound a message is sent again for another token; past it, once.
func TestLongMessages(t *testing.T) {
	for _, c := range []struct {
		size int64
		sent int
		code string
	}{{maxKept - 1, 2, ""}, {maxKept, 1, "unavailable"}, {maxKept + 1<<20, 1, "unavailable"}} {
		for _, known := range []bool{true, false} {
			var sent atomic.Int32
			var arrived atomic.Int64
			address := at(server(t, func(w http.ResponseWriter, r *http.Request) {
				n, _ := io.Copy(io.Discard, r.Body)
				arrived.Store(n)
				if sent.Add(1) == 1 {
					w.WriteHeader(401)
				}
			}))
			asked := &tokens{}
			r := newRig(t, Config{Token: asked.token})
			req, _ := http.NewRequestWithContext(t.Context(), "POST", address, io.LimitReader(zeros{}, c.size))
			if known {
				req.ContentLength = c.size
			}
			resp, err := r.host.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if int(sent.Load()) != c.sent || arrived.Load() != c.size || resp.Header.Get(localapi.HeaderError) != c.code {
				t.Errorf("%d bytes (known %v): sent %d times, %d arrived, %s", c.size, known, sent.Load(), arrived.Load(), body)
			}
			if len(asked.requests()) != 2 { // also for the next one
				t.Errorf("%d token requests", len(asked.requests()))
			}
		}
	}
}

// TestMessageBreaksOff: half a message is not forwarded; of a long one the server learns that it is not whole.
func TestMessageBreaksOff(t *testing.T) {
	whole := make(chan bool, 1)
	address := server(t, func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		whole <- err == nil
	})
	asked := &tokens{}
	r := newRig(t, Config{Token: asked.token})
	for _, size := range []int{100, maxKept + 100} {
		conn, err := r.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /mcp/%s/mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", hostport(address), size+1)
		io.CopyN(conn, zeros{}, int64(size))
		conn.Close()
		if size > maxKept && <-whole {
			t.Error("half a long message looks whole")
		}
	}
	if n := len(asked.requests()); n != 1 {
		t.Errorf("%d token requests; half a short message needs none", n)
	}
}

// TestFlatMemory: what passes through is not held, in either direction.
func TestFlatMemory(t *testing.T) {
	size := int64(256 << 20)
	if testing.Short() {
		size = 32 << 20
	}
	var highest atomic.Uint64
	measure := func() {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		highest.Store(max(highest.Load(), m.HeapAlloc))
	}
	address := at(server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			w.Header().Set("Content-Type", "text/event-stream")
			io.CopyN(w, zeros{}, size)
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	}))
	r := newRig(t, Config{Token: (&tokens{}).token})
	for _, method := range []string{"GET", "POST"} {
		runtime.GC()
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		highest.Store(0)
		body := io.Reader(http.NoBody)
		allowed := uint64(8 << 20)
		if method == "POST" {
			body, allowed = io.LimitReader(zeros{}, size), 6*maxKept // its beginning is kept, and grows while it is read
		}
		req, _ := http.NewRequestWithContext(t.Context(), method, address, body)
		began := time.Now()
		resp, err := r.host.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var n int64
		buffer := make([]byte, 64<<10)
		for err == nil {
			var m int
			m, err = resp.Body.Read(buffer)
			if n += int64(m); n%(8<<20) < int64(m) {
				measure()
			}
		}
		measure()
		resp.Body.Close()
		var after runtime.MemStats
		runtime.ReadMemStats(&after)
		if method == "GET" && n != size || method == "POST" && !strings.HasPrefix(string(buffer), fmt.Sprint(size)) {
			t.Errorf("%s: %d bytes arrived", method, n)
		}
		if grown := highest.Load() - min(highest.Load(), before.HeapAlloc); grown > allowed {
			t.Errorf("%s: the heap grew by %d MiB over %d MiB", method, grown>>20, size>>20)
		}
		t.Logf("%s: %d MiB in %v, highest heap %d MiB, allocated %d MiB in all", method, size>>20, time.Since(began).Round(time.Millisecond), highest.Load()>>20, (after.TotalAlloc-before.TotalAlloc)>>20)
	}
}

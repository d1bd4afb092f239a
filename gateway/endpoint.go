package gateway

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/valetkey/valetkey/internal/sse"
	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

// Servers of 2024-11-05 speak HTTP with SSE: one stream (GET) carries all that the server says, and its first event,
// "endpoint", names the URL that takes what the host says (POST). That URL means nothing to a host behind the gateway,
// and must not become a way to the rest of the server's origin. So the host is given a path of ours in its place, which
// stands for that one URL, as long as the stream lasts, for that one run of a host.
//
//	/mcp/sse:GAYDMNRTGA3TOMBQ…   is   https://mcp.example.com/messages?session_id=…
//
// No server can be meant by such a path: what follows the colon of a host is a number.
const endpointPath = localapi.MCPPrefix + "sse:"

const maxOpening = 8 << 10 // bytes before the end of a stream's first event

var errForeign = errors.New("the place for messages lies elsewhere")

// endpoints are the places for messages that are open.
type endpoints struct {
	mu   sync.Mutex
	open map[string]*endpoint
}

// endpoint is what a path of ours stands for.
type endpoint struct {
	server string // whose token it takes
	url    string
	host   peer.Host
}

// add gives e an id, which means nothing any more once it is dropped.
func (all *endpoints) add(e *endpoint) (id string) {
	id = rand.Text()
	all.mu.Lock()
	defer all.mu.Unlock()
	all.open[id] = e
	return id
}

func (all *endpoints) drop(id string) {
	all.mu.Lock()
	defer all.mu.Unlock()
	delete(all.open, id)
}

// find returns what the id in a path stands for, for a host.
func (all *endpoints) find(id string, host peer.Host) (*endpoint, error) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if e := all.open[id]; e != nil && e.host.Key == host.Key && e.host.Instance == host.Instance {
		return e, nil
	}
	return nil, localapi.Errorf(localapi.ErrBadRequest, "the stream that this path belonged to has ended").WithStatus(http.StatusNotFound).WithHint("open the stream again (GET)")
}

// body is what the host gets of an answer's body: a stream in which an old server names its place for messages names a
// path of ours instead.
func (x *exchange) body(resp *http.Response) io.Reader {
	h := x.request.Header
	if x.request.Method != http.MethodGet || !carriesEvents(resp) || h.Get("Mcp-Session-Id") != "" || h.Get("Last-Event-Id") != "" {
		return resp.Body
	}
	return newOpening(resp.Body, func(named string) ([]byte, error) {
		to, err := resp.Request.URL.Parse(named)
		if err != nil || to.User != nil || origin(to.String()) != origin(x.server) {
			e := localapi.Errorf(localapi.ErrDiscovery, "%s names a place for messages at another address, %s, and a token is not carried there", x.name(), shown(named)).
				WithHint("check the server's URL; tell its owner")
			return x.lastEvent(e), errForeign
		}
		to.Fragment, to.RawFragment = "", ""
		x.named = x.gateway.endpoints.add(&endpoint{x.server, to.String(), x.from.Host})
		return []byte("event: endpoint\ndata: " + endpointPath + x.named + "\n\n"), nil
	})
}

// opening passes an event stream on, but for its first event if that is named "endpoint". What comes before the end of
// that event is held back, as far as it is not an event without data or a comment.
type opening struct {
	in      io.Reader
	rewrite func(data string) (event []byte, err error) // nil once the first event has passed

	events *sse.Reader
	most   io.LimitedReader
	held   bytes.Buffer
	ready  []byte
	err    error // after what is ready
}

func newOpening(in io.Reader, rewrite func(data string) ([]byte, error)) *opening {
	o := &opening{in: in, rewrite: rewrite, most: io.LimitedReader{R: in, N: maxOpening}}
	o.events = sse.NewReader(io.TeeReader(&o.most, &o.held), maxOpening, io.EOF)
	return o
}

func (o *opening) Read(p []byte) (int, error) {
	for len(o.ready) == 0 && o.rewrite != nil {
		o.pass()
	}
	if len(o.ready) == 0 && o.err == nil {
		return o.in.Read(p)
	}
	n := copy(p, o.ready)
	if o.ready = o.ready[n:]; n > 0 {
		return n, nil
	}
	return 0, o.err
}

// pass lets go of what need not be held back any more.
func (o *opening) pass() {
	before := o.events.Offset
	kind, data, err := o.events.Block()
	o.ready = append(o.ready, o.held.Next(int(o.events.Offset-before))...)
	switch {
	case err == nil && len(data) == 0:
		o.most.N = maxOpening - int64(o.held.Len())
		return
	case err == nil && kind == "endpoint":
		if o.ready, o.err = o.rewrite(strings.TrimSpace(string(data))); o.err != nil {
			o.held.Reset()
		}
	case !errors.Is(err, io.EOF): // which is also the end of what may be held back
		o.err = err
	}
	o.ready, o.rewrite = append(o.ready, o.held.Bytes()...), nil
}

// place finds the server and the URL that a path of ours stands for.
func (x *exchange) place(u *url.URL) (found bool, err error) {
	id, ok := strings.CutPrefix(u.EscapedPath(), endpointPath)
	if !ok {
		return false, nil
	}
	x.old = true
	e, err := x.gateway.endpoints.find(id, x.from.Host)
	if err != nil {
		return true, err
	}
	x.server, x.to = e.server, e.url
	return true, nil
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valetkey/valetkey/localapi"
)

const (
	starts       = 25       // of each program, to its first list of tools
	slowStarts   = 5        // of mcp-remote
	calls        = 1000     // of a tool, to each program
	bridges      = 50       // at once
	bridgeMemory = 15 << 10 // KiB that one bridge may need
	streamed     = 1 << 30  // bytes through the gateway
	streamGrowth = 8 << 10  // KiB that the app may grow by meanwhile: the noise of its garbage collector
)

// stdioHost is a host that started an MCP server as a command.
type stdioHost struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	id  int
}

// startStdio starts a command; first is written to it before anything else.
func startStdio(ctx context.Context, env []string, first string, argv ...string) (*stdioHost, error) {
	h := &stdioHost{cmd: exec.CommandContext(ctx, argv[0], argv[1:]...)}
	h.cmd.Env = env
	var err error
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	h.out = bufio.NewReaderSize(out, 1<<20)
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	_, err = io.WriteString(h.in, first)
	return h, err
}

// close lets the command end by itself.
func (h *stdioHost) close() error {
	h.in.Close()
	late := time.AfterFunc(10*time.Second, func() { h.cmd.Process.Kill() })
	defer late.Stop()
	io.Copy(io.Discard, h.out)
	return h.cmd.Wait()
}

// call makes one request and returns its result; what else arrives is passed over.
func (h *stdioHost) call(method, params string) (json.RawMessage, error) {
	h.id++
	if _, err := fmt.Fprintf(h.in, `{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`+"\n", h.id, method, params); err != nil {
		return nil, err
	}
	for {
		line, err := h.out.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(h.cmd.Path), err)
		}
		var m struct {
			ID            any
			Result, Error json.RawMessage
		}
		if json.Unmarshal(line, &m) != nil || m.ID != float64(h.id) {
			continue
		}
		if m.Error != nil {
			return nil, fmt.Errorf("%s: %s: %s", filepath.Base(h.cmd.Path), method, m.Error)
		}
		return m.Result, nil
	}
}

const (
	initializeParams = `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}`
	callParams       = `{"name":"list_notes","arguments":{}}`
)

// listTools is what every host does first.
func (h *stdioHost) listTools() error {
	if _, err := h.call("initialize", initializeParams); err != nil {
		return err
	}
	if _, err := io.WriteString(h.in, `{"jsonrpc":"2.0","method":"notifications/initialized"}`+"\n"); err != nil {
		return err
	}
	result, err := h.call("tools/list", "{}")
	if err == nil && !bytes.Contains(result, []byte("list_notes")) {
		err = fmt.Errorf("a list of tools without list_notes: %s", result)
	}
	return err
}

// roleServer makes a copy of this program an MCP server with its issuer: a process of its own, as servers are. It writes
// its resource to its standard output.
const roleServer = "server"

func serverRole(ctx context.Context) error {
	w := &world{}
	defer w.close()
	resource, err := w.serve(0, nil)
	if err != nil {
		return err
	}
	fmt.Println(resource)
	<-ctx.Done()
	return nil
}

// startServer starts one.
func (w *world) startServer() (resource string, err error) {
	cmd := exec.Command(w.self, roleServer)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := w.start(roleServer, cmd); err != nil {
		return "", err
	}
	resource, err = bufio.NewReader(out).ReadString('\n')
	return strings.TrimSpace(resource), w.withLog(roleServer, err)
}

// pipes are the programs that stand between a host and the server, each with all it needs to begin at once.
type pipes struct {
	w          *world
	env        []string
	token      string
	vk, remote string
}

func (w *world) pipes(ctx context.Context) (*pipes, error) {
	p := &pipes{w: w, env: append(os.Environ(), "VK_SOCK="+w.socket)}
	var err error
	if w.remote, err = w.startServer(); err != nil {
		return nil, err
	}
	if p.vk, err = filepath.Abs(filepath.Join("bin", "vk")); err != nil {
		return nil, err
	}
	if p.remote, err = filepath.Abs(filepath.Join("e2e", "bench", "peers", "node_modules", "mcp-remote", "dist", "proxy.js")); err != nil {
		return nil, err
	}
	if _, err := os.Stat(p.remote); err != nil {
		return nil, fmt.Errorf("%w (make bench installs it)", err)
	}
	out, err := p.command(ctx, p.vk, "token", w.remote).Output()
	p.token = strings.TrimSpace(string(out))
	return p, err
}

func (p *pipes) command(ctx context.Context, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = p.env
	return cmd
}

func (p *pipes) bridge(ctx context.Context) (*stdioHost, error) {
	return startStdio(ctx, p.env, "", p.vk, "bridge", p.w.remote)
}

func (p *pipes) pipe(ctx context.Context) (*stdioHost, error) {
	return startStdio(ctx, p.env, p.token+"\n", p.w.path("pipe"), p.w.remote)
}

// mcpRemote has its token too: it is given it as a header, which spares it the search for a file.
func (p *pipes) mcpRemote(ctx context.Context) (*stdioHost, error) {
	env := append(p.env, "MCP_REMOTE_CONFIG_DIR="+p.w.path("mcp-remote"), "BENCH_HEADER=Bearer "+p.token)
	return startStdio(ctx, env, "", "node", p.remote, p.w.remote, "--allow-http", "--transport", "http-only", "--header", "Authorization:${BENCH_HEADER}")
}

// bridgeFigures measures vk bridge beside a pipe that does the least, and beside mcp-remote.
func (w *world) bridgeFigures(ctx context.Context) ([]figure, error) {
	p, err := w.pipes(ctx)
	if err != nil {
		return nil, err
	}
	var figures []figure
	for _, measure := range []func(context.Context) ([]figure, error){p.startFigures, p.callFigures, p.memoryFigures, p.manyFigures} {
		f, err := measure(ctx)
		if err != nil {
			return nil, err
		}
		figures = append(figures, f...)
	}
	return figures, nil
}

// startFigures measures from the start of a command to its first list of tools.
func (p *pipes) startFigures(ctx context.Context) ([]figure, error) {
	var ours, bare, remote []time.Duration
	for n := range p.w.times(starts) {
		for _, side := range []struct {
			start func(context.Context) (*stdioHost, error)
			times *[]time.Duration
			every int
		}{{p.bridge, &ours, 1}, {p.pipe, &bare, 1}, {p.mcpRemote, &remote, starts / slowStarts}} {
			if n%side.every != 0 {
				continue
			}
			begin := time.Now()
			h, err := side.start(ctx)
			if err == nil {
				err = h.listTools()
			}
			if err != nil {
				return nil, err
			}
			*side.times = append(*side.times, time.Since(begin))
			h.close()
		}
	}
	faster := float64(median(remote)) / float64(median(ours))
	return []figure{
		within("vk bridge: start to first tools/list, beside a pipe", ours, bare, 1, 2),
		{name: "  beside mcp-remote 0.15.1", ours: shown(median(ours)), floor: shown(median(remote)), ratio: fmt.Sprintf("%.0f× faster", faster), aim: "≥ 20×", met: yes(faster >= 20)},
	}, nil
}

// callFigures measures what each adds to a call, beside a host that speaks HTTP to the server itself.
func (p *pipes) callFigures(ctx context.Context) ([]figure, error) {
	type side struct {
		call  func() error
		times []time.Duration
	}
	var sides []*side
	for _, start := range []func(context.Context) (*stdioHost, error){p.bridge, p.pipe, p.mcpRemote} {
		h, err := start(ctx)
		if err == nil {
			err = h.listTools()
		}
		if err != nil {
			return nil, err
		}
		defer h.close()
		sides = append(sides, &side{call: func() error { _, err := h.call("tools/call", callParams); return err }})
	}
	path, err := localapi.MCPPath(p.w.remote)
	if err != nil {
		return nil, err
	}
	for _, way := range []struct {
		client  *http.Client
		address string
	}{{newClient(p.w.socket, true), "http://localhost" + path}, {&http.Client{Transport: &http.Transport{}}, p.w.remote}} {
		call, err := p.byHTTP(ctx, way.client, way.address)
		if err != nil {
			return nil, err
		}
		sides = append(sides, &side{call: call})
	}
	for n := range calls/10/block + p.w.times(calls/block) {
		for _, s := range sides {
			for range block {
				begin := time.Now()
				if err := s.call(); err != nil {
					return nil, err
				}
				if n*block >= calls/10 { // the first warm up
					s.times = append(s.times, time.Since(begin))
				}
			}
		}
	}
	plain := median(sides[4].times)
	added := func(n int) time.Duration { return median(sides[n].times) - plain }
	ratio := float64(added(0)) / float64(added(1))
	return []figure{
		{name: "vk bridge: added to a call, beside a pipe", ours: shown(added(0)), floor: shown(added(1)), ratio: fmt.Sprintf("%.2f×", ratio), aim: "≤ 2.0×", met: yes(ratio <= 2)},
		{name: "  beside mcp-remote 0.15.1", ours: shown(added(0)), floor: shown(added(2)), ratio: fmt.Sprintf("%.2f×", float64(added(0))/float64(added(2)))},
		{name: "  of which in the gateway", ours: shown(added(3)), floor: shown(added(1)), ratio: fmt.Sprintf("%.2f×", float64(added(3))/float64(added(1)))},
		{name: "  a whole call, beside one over HTTP by the host itself", ours: shown(median(sides[0].times)), floor: shown(plain), ratio: fmt.Sprintf("%.2f×", float64(median(sides[0].times))/float64(plain))},
	}, nil
}

// byHTTP is a host that speaks HTTP itself, to the server or to the gateway, which does without its token.
func (p *pipes) byHTTP(ctx context.Context, client *http.Client, address string) (call func() error, err error) {
	session := ""
	post := func(body string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "Authorization": {"Bearer " + p.token}}
		if session != "" {
			req.Header.Set("Mcp-Session-Id", session)
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if id := resp.Header.Get("Mcp-Session-Id"); id != "" {
			session = id
		}
		answer, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode >= 300 {
			err = fmt.Errorf("HTTP status %d: %s", resp.StatusCode, answer)
		}
		return err
	}
	for _, body := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":` + initializeParams + `}`,
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
	} {
		if err := post(body); err != nil {
			return nil, err
		}
	}
	return func() error {
		return post(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":` + callParams + `}`)
	}, nil
}

// memoryFigures weighs one bridge in use.
func (p *pipes) memoryFigures(ctx context.Context) ([]figure, error) {
	weigh := func(start func(context.Context) (*stdioHost, error)) (int64, error) {
		h, err := start(ctx)
		if err != nil {
			return 0, err
		}
		defer h.close()
		if err := h.listTools(); err != nil {
			return 0, err
		}
		for range 100 {
			if _, err := h.call("tools/call", callParams); err != nil {
				return 0, err
			}
		}
		return field(filepath.Join("/proc", strconv.Itoa(h.cmd.Process.Pid), "status"), "VmRSS:")
	}
	var kib [3]int64
	for i, start := range []func(context.Context) (*stdioHost, error){p.bridge, p.pipe, p.mcpRemote} {
		var err error
		if kib[i], err = weigh(start); err != nil {
			return nil, err
		}
	}
	ours := heavier("vk bridge: memory (RSS), beside a pipe", kib[0], kib[1], 0)
	ours.aim, ours.met = fmt.Sprintf("≤ %d MB", bridgeMemory>>10), yes(kib[0] <= bridgeMemory)
	return []figure{ours, heavier("  beside mcp-remote 0.15.1", kib[0], kib[2], 0)}, nil
}

// manyFigures has many bridges started at once on one app.
func (p *pipes) manyFigures(ctx context.Context) ([]figure, error) {
	many := func(start func(context.Context) (*stdioHost, error)) (time.Duration, error) {
		errs := make([]error, bridges)
		var group sync.WaitGroup
		begin := time.Now()
		for i := range bridges {
			group.Go(func() {
				h, err := start(ctx)
				if err == nil {
					defer h.close()
					err = h.listTools()
				}
				errs[i] = err
			})
		}
		group.Wait()
		return time.Since(begin), errors.Join(errs...)
	}
	ours, err := many(p.bridge)
	if err != nil {
		return nil, err
	}
	bare, err := many(p.pipe)
	if err != nil {
		return nil, err
	}
	return []figure{within(fmt.Sprintf("%d bridges at once, until all listed tools", bridges), []time.Duration{ours}, []time.Duration{bare}, 1, 0)}, nil
}

// streamFigures streams through the gateway and looks how much the app grows.
func (w *world) streamFigures(ctx context.Context) ([]figure, error) {
	u, err := url.Parse(w.streams)
	if err != nil {
		return nil, err
	}
	path, err := localapi.MCPPath(w.streams)
	if err != nil {
		return nil, err
	}
	status := filepath.Join("/proc", strconv.Itoa(w.app), "status")
	client := newClient(w.socket, true)
	through := func(size int) (time.Duration, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost"+path, strings.NewReader(strconv.Itoa(size)))
		if err != nil {
			return 0, err
		}
		req.Header.Set("Content-Type", "application/json")
		begin := time.Now()
		resp, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		n, err := io.Copy(io.Discard, resp.Body)
		if err == nil && (resp.StatusCode != http.StatusOK || n != int64(size)) {
			err = fmt.Errorf("HTTP status %d, %d bytes of %d from %s", resp.StatusCode, n, size, u.Host)
		}
		return time.Since(begin), err
	}
	if _, err := through(streamed >> 6); err != nil { // the question, the sign-in, and buffers of their final size
		return nil, err
	}
	before, err := field(status, "VmHWM:")
	if err != nil {
		return nil, err
	}
	took, err := through(streamed)
	if err != nil {
		return nil, err
	}
	after, err := field(status, "VmHWM:")
	if err != nil {
		return nil, err
	}
	f := heavier("1 GB streamed through the gateway: peak memory after, and before", after, before, streamGrowth)
	return []figure{f, {name: "  a second of it", ours: fmt.Sprintf("%.0f MB", streamed/took.Seconds()/1e6)}}, nil
}

// streamer is a server that answers with as many bytes of an event stream as the body says.
func streamer(next http.Handler) http.Handler {
	chunk := []byte("data: " + strings.Repeat("x", 32<<10-8) + "\n\n")
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 100))
		left, errSize := strconv.Atoi(string(body))
		if err != nil || errSize != nil || r.Header.Get("Authorization") == "" {
			r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), r.Body))
			next.ServeHTTP(rw, r)
			return
		}
		rw.Header().Set("Content-Type", "text/event-stream")
		for left > 0 {
			n, err := rw.Write(chunk[:min(left, len(chunk))])
			if left -= n; err != nil {
				return
			}
		}
	})
}

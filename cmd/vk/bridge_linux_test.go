package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/valetkey/valetkey/localapi"
	"github.com/valetkey/valetkey/peer"
)

// gate answers at addr as the gateway would for a server with sessions, and notes which methods it saw.
func gate(t *testing.T, addr string) (saw chan string) {
	t.Helper()
	ln, err := localapi.Listen(addr)
	must(t, err)
	saw = make(chan string, 100)
	server := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			ID     json.RawMessage
			Method string
		}
		json.NewDecoder(r.Body).Decode(&m)
		saw <- r.Method + " " + r.URL.Path + " " + m.Method
		w.Header().Set("Mcp-Session-Id", "s1")
		switch {
		case r.Method == "GET":
			w.WriteHeader(http.StatusMethodNotAllowed)
		case m.ID == nil:
			w.WriteHeader(http.StatusAccepted)
		case m.Method == "slow":
			<-r.Context().Done()
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25"}}`, m.ID)
		}
	})
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- localapi.Serve(ctx, ln, localapi.ServerConfig{Backend: &app{}, MCP: server, Identify: func(net.Conn) (*peer.Peer, error) { return &peer.Peer{}, nil }})
	}()
	t.Cleanup(func() { stop(); <-served; ln.Close() })
	return saw
}

// bridgeRun is vk bridge as a process of its own.
type bridgeRun struct {
	*exec.Cmd
	in       io.WriteCloser
	pipe     io.ReadCloser
	out      *bufio.Reader
	complain strings.Builder
}

func runBridge(t *testing.T, addr string) *bridgeRun {
	t.Helper()
	b := &bridgeRun{Cmd: exec.Command("vk", "bridge", "https://mcp.example.com/mcp")}
	b.Env = append(os.Environ(), "VK_SOCK="+addr)
	b.Stderr = &b.complain
	var err error
	b.in, err = b.StdinPipe()
	must(t, err)
	b.pipe, err = b.StdoutPipe()
	must(t, err)
	b.out = bufio.NewReader(b.pipe)
	must(t, b.Start())
	t.Cleanup(func() { b.Process.Kill(); b.Process.Wait() })
	return b
}

// ask writes a request and returns the line that comes back.
func (b *bridgeRun) ask(t *testing.T, method string) string {
	t.Helper()
	b.say(t, method)
	line, err := b.out.ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v; it says %s", method, err, b.complain.String())
	}
	return strings.TrimSpace(line)
}

func (b *bridgeRun) say(t *testing.T, method string) {
	t.Helper()
	_, err := fmt.Fprintf(b.in, `{"jsonrpc":"2.0","id":1,"method":"%s"}`+"\n", method)
	must(t, err)
}

// ends waits for the exit code, and for the server to have heard that the session is over.
func (b *bridgeRun) ends(t *testing.T, saw chan string, code int) {
	t.Helper()
	rest, _ := io.ReadAll(b.out)
	done := make(chan struct{})
	go func() { b.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
	if got := b.ProcessState.ExitCode(); got != code {
		t.Errorf("exit %d (%v), want %d; it says %s", got, b.ProcessState, code, b.complain.String())
	}
	if text := string(rest); text != "" && !strings.HasPrefix(text, `{"jsonrpc":"2.0",`) {
		t.Errorf("on standard output: %q", text)
	}
	for {
		select {
		case got := <-saw:
			if got == "DELETE /mcp/mcp.example.com/mcp " {
				return
			}
		default:
			t.Error("the server did not hear that the session is over")
			return
		}
	}
}

func sockIn(t *testing.T) string {
	dir, err := os.MkdirTemp("", "vk")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "agent.sock")
}

const agreed = `{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25"}}`

// TestBridgeEnds: the end of its input, a signal and a host that stopped reading all end vk bridge in good order.
func TestBridgeEnds(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(t *testing.T, b *bridgeRun)
		code int
	}{
		"end of input":    {func(t *testing.T, b *bridgeRun) { b.in.Close() }, 0},
		"half a line":     {func(t *testing.T, b *bridgeRun) { io.WriteString(b.in, `{"jsonrpc":"2.0",`); b.in.Close() }, 0},
		"SIGTERM":         {func(t *testing.T, b *bridgeRun) { must(t, b.Process.Signal(syscall.SIGTERM)) }, 0},
		"SIGTERM in call": {func(t *testing.T, b *bridgeRun) { b.say(t, "slow"); must(t, b.Process.Signal(syscall.SIGTERM)) }, 0},
		"SIGINT":          {func(t *testing.T, b *bridgeRun) { must(t, b.Process.Signal(syscall.SIGINT)) }, 0},
		"deaf host":       {func(t *testing.T, b *bridgeRun) { b.pipe.Close(); b.say(t, "x") }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := sockIn(t)
			saw := gate(t, addr)
			b := runBridge(t, addr)
			if got := b.ask(t, "initialize"); got != agreed {
				t.Fatalf("heard %s", got)
			}
			c.end(t, b)
			b.ends(t, saw, c.code)
		})
	}
}

// TestBridgeWithoutApp: every request is answered with what to do, until the app is there.
func TestBridgeWithoutApp(t *testing.T) {
	addr := sockIn(t)
	b := runBridge(t, addr)
	want := `{"jsonrpc":"2.0","id":1,"error":{"code":-31503,"message":"Valet Key is not running; start Valet Key: run valetkey, or open it from your applications"}}`
	for _, method := range []string{"initialize", "tools/list"} {
		if got := b.ask(t, method); got != want {
			t.Errorf("%s: %s", method, got)
		}
	}
	saw := gate(t, addr)
	if got := b.ask(t, "initialize"); got != agreed {
		t.Errorf("once it runs: %s", got)
	}
	b.in.Close()
	b.ends(t, saw, 0)
}

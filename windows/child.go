package windows

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valetkey/valetkey/face"
)

const (
	grace     = 2 * time.Second // to end, once told to
	maxQueued = 256             // messages that wait for it
)

// Inherited is the child's end of the pair. It fails in a process that the resident process did not start as its
// window. Call it once.
func Inherited() (*face.Conn, error) {
	end, err := inherited()
	if err != nil {
		return nil, err
	}
	return face.NewConn(end), nil
}

// child is one window process.
type child struct {
	cmd    *exec.Cmd
	conn   *face.Conn
	state  *atomic.Pointer[face.State] // the newest, owned by Windows
	limits limits

	woken chan struct{} // room for one: something is queued, or the state is newer
	ended chan struct{} // closed when the process is gone

	mu    sync.Mutex
	queue []face.Message
	owed  int         // questions and pages that it has not taken yet
	shown bool        // something was on the screen
	watch *time.Timer // runs while owed > 0, and until something was shown; then it ends the process, which shows nothing
}

// limits are how long a window process may take for what it is told.
type limits struct {
	start time.Duration // to be on the screen for the first time
	stuck time.Duration // from then on to take a message, and a question or a page
}

func startChild(cmd *exec.Cmd, state *atomic.Pointer[face.State], limits limits) (*child, error) {
	conn, done, err := attach(cmd)
	if err != nil {
		return nil, err
	}
	cmd.WaitDelay = grace // a program the window started may hold its standard error
	err = cmd.Start()
	done()
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("start the window process: %w", err)
	}
	c := &child{cmd: cmd, conn: conn, state: state, limits: limits, woken: make(chan struct{}, 1), ended: make(chan struct{})}
	c.watch = time.AfterFunc(limits.start, func() { c.cmd.Process.Kill() })
	c.queue = []face.Message{{Hello: face.Protocol}}
	go c.write()
	c.wake()
	return c, nil
}

// receive passes on what the process says until it ends, and reports how it ended: nil when it was done.
func (c *child) receive(take func(face.Message) error) error {
	var err error
	for err == nil {
		var m face.Message
		if m, err = c.conn.Receive(); err == nil {
			err = take(m)
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) { // the latter when it left something unread
		err = nil
	}
	c.conn.Close()
	c.killAfter(grace)
	waitErr := c.cmd.Wait()
	c.watch.Stop()
	close(c.ended)
	if waitErr != nil {
		return fmt.Errorf("window process: %w", errors.Join(waitErr, err))
	}
	return err
}

// killAfter ends the process by force if it has not ended by itself in time.
func (c *child) killAfter(d time.Duration) {
	go func() {
		select {
		case <-c.ended:
		case <-time.After(d):
			c.cmd.Process.Kill()
		}
	}()
}

// send queues a message; it never waits. A process that lets too many pile up is ended.
func (c *child) send(m face.Message) {
	c.mu.Lock()
	if len(c.queue) == maxQueued {
		c.cmd.Process.Kill()
	} else {
		c.queue = append(c.queue, m)
	}
	if m.Question != nil || m.Page != "" {
		if c.owed++; c.owed == 1 && c.shown {
			c.watch.Reset(c.limits.stuck)
		}
	}
	c.mu.Unlock()
	c.wake()
}

// taken hears that the process took one question or page.
func (c *child) taken() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.owed--
	c.rewatch()
}

// painted hears that something is on the screen.
func (c *child) painted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shown = true
	c.rewatch()
}

func (c *child) rewatch() {
	switch {
	case !c.shown: // the time for that runs
	case c.owed > 0:
		c.watch.Reset(c.limits.stuck)
	default:
		c.watch.Stop()
	}
}

func (c *child) wake() {
	select {
	case c.woken <- struct{}{}:
	default:
	}
}

// write sends what is queued and, before all of it but the greeting, the state if it is newer than the last one sent.
func (c *child) write() {
	var sent *face.State
	for {
		select {
		case <-c.woken:
		case <-c.ended:
			return
		}
		c.mu.Lock()
		queue := c.queue
		c.queue = nil
		c.mu.Unlock()
		if len(queue) > 0 && queue[0].Hello != 0 {
			c.say(queue[0])
			queue = queue[1:]
		}
		if s := c.state.Load(); s != sent {
			sent = s
			c.say(face.Message{State: s})
		}
		for _, m := range queue {
			c.say(m)
		}
	}
}

// say ends a process that takes nothing for too long, or whose pair is broken: receive then sees the end. What is too large
// is not sent: Ask looked before, a result is a few sentences.
func (c *child) say(m face.Message) {
	c.mu.Lock()
	limit := c.limits.start
	if c.shown {
		limit = c.limits.stuck
	}
	c.mu.Unlock()
	watch := time.AfterFunc(limit, func() { c.cmd.Process.Kill() })
	defer watch.Stop()
	c.conn.Send(m)
}

package face

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/valetkey/valetkey/internal/secret"
	"github.com/valetkey/valetkey/localapi"
)

// maxMessage bounds one line in either direction, in bytes.
const maxMessage = 1 << 20

// ErrTooLarge is returned for a message above 1 MiB, by the side that would send it and by the side that receives it.
// The receiver cannot find the next message after it.
var ErrTooLarge = errors.New("message of more than 1 MiB between the app and its window")

// Protocol numbers the messages of the pair. It changes when they do and with nothing else.
const Protocol = 1

// Message is one line between the resident process and the window process. Exactly one field is set.
type Message struct {
	Hello int `json:"hello,omitempty"` // the first of either side: its Protocol. A window process that is not greeted greets nobody

	// To the window process.
	Question *Question `json:"question,omitempty"` // ask the person
	Withdraw string    `json:"withdraw,omitempty"` // ID of a question that needs no answer any more
	State    *State    `json:"state,omitempty"`    // what to draw from now on
	Page     string    `json:"page,omitempty"`     // open the main window there: Page…
	Result   *Result   `json:"result,omitempty"`   // what became of a wish
	Quit     bool      `json:"quit,omitempty"`     // close every window and end

	// To the resident process.
	Answer *Answered `json:"answer,omitempty"`
	Wish   *Wanted   `json:"wish,omitempty"`
	Taken  bool      `json:"taken,omitempty"` // one Question or Page was: it goes to the screen, or waits its turn
	Shown  string    `json:"shown,omitempty"` // the question with that ID, or that Page, was painted
}

// Answered is the answer to the question with that ID.
type Answered struct {
	ID     string
	Answer Answer
}

// Result tells what became of the wish with that number: Err is nil when it was done.
type Result struct {
	Call uint64          `json:"call"`
	Err  *localapi.Error `json:"error,omitempty"`
}

type wireAnswered struct {
	ID           string `json:"id"`
	Answer       Answer `json:"answer"`
	ClientSecret string `json:"client_secret,omitempty"`
}

// MarshalJSON writes the client secret in the clear: the person typed it into the window for the resident process.
// Beside it only [WishClient] takes secrets over the pair.
func (a Answered) MarshalJSON() ([]byte, error) {
	return json.Marshal(wireAnswered{a.ID, a.Answer, a.Answer.ClientSecret.Reveal()})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (a *Answered) UnmarshalJSON(b []byte) error {
	var w wireAnswered
	if err := json.Unmarshal(b, &w); err != nil {
		return errors.New("malformed answer") // the decoder's own error could quote the secret
	}
	*a = Answered{w.ID, w.Answer}
	if w.ClientSecret != "" {
		a.Answer.ClientSecret = secret.New(w.ClientSecret)
	}
	return nil
}

// set counts the fields that are set.
func (m Message) set() int {
	n := 0
	for _, is := range []bool{m.Hello != 0, m.Question != nil, m.Withdraw != "", m.State != nil, m.Page != "", m.Result != nil,
		m.Quit, m.Answer != nil, m.Wish != nil, m.Taken, m.Shown != ""} {
		if is {
			n++
		}
	}
	return n
}

// Conn is one end of the pair. Send may be called by many goroutines, Receive by one.
type Conn struct {
	rw io.ReadWriteCloser
	r  *bufio.Reader

	sending sync.Mutex
}

// NewConn speaks over rw. The ends that the two processes use come from package windows.
func NewConn(rw io.ReadWriteCloser) *Conn {
	return &Conn{rw: rw, r: bufio.NewReaderSize(rw, 32<<10)}
}

// Close ends both directions; a Receive that waits returns.
func (c *Conn) Close() error { return c.rw.Close() }

// Send writes one message. It waits while the other side reads nothing. A state that is too large goes without its oldest
// activity.
func (c *Conn) Send(m Message) error {
	line, err := encode(m)
	if err != nil {
		return err
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	_, err = c.rw.Write(line)
	return err
}

// Check says beforehand why Send would not write m.
func (m Message) Check() error {
	_, err := encode(m)
	return err
}

func encode(m Message) ([]byte, error) {
	line, err := json.Marshal(m)
	switch {
	case err != nil:
		return nil, fmt.Errorf("encode a message: %w", err)
	case len(line) < maxMessage:
		return append(line, '\n'), nil
	case m.State == nil || len(m.State.Activity) == 0:
		return nil, ErrTooLarge
	}
	less := *m.State
	less.Activity = less.Activity[:len(less.Activity)/2]
	m.State = &less
	return encode(m)
}

// Receive waits for the next message. io.EOF: the other side is gone. After any error the connection is of no use.
func (c *Conn) Receive() (Message, error) {
	var line []byte
	for {
		part, err := c.r.ReadSlice('\n')
		if len(line)+len(part) > maxMessage {
			return Message{}, ErrTooLarge
		}
		line = append(line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return Message{}, err
		}
	}
	var m Message
	if err := json.Unmarshal(line, &m); err != nil {
		return Message{}, errors.New("malformed message between the app and its window")
	}
	if m.set() != 1 {
		return Message{}, fmt.Errorf("a message between the app and its window with %d parts instead of one", m.set())
	}
	return m, nil
}

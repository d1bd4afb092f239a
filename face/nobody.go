package face

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Nobody is the face where there is neither a display nor a terminal: the person is told, and cannot be asked.
type Nobody struct{ Out io.Writer }

// Name is NameNobody.
func (Nobody) Name() string { return NameNobody }

// Ask fails.
func (Nobody) Ask(context.Context, Question) (Answer, error) {
	return Answer{}, errors.New("there is nobody to ask")
}

// ShowPage writes what to open.
func (n Nobody) ShowPage(server, page, code string) {
	if code != "" {
		code = " and enter " + code
	}
	fmt.Fprintf(n.Out, "To sign in to %s, open %s%s\n", server, page, code)
}

// Paste returns at once.
func (Nobody) Paste(context.Context, string, func(string) error) {}

// Open fails with ErrNoWindow.
func (Nobody) Open() error { return ErrNoWindow }

// Update draws nothing.
func (Nobody) Update(State) {}

// Run returns at once.
func (Nobody) Run(context.Context) {}

// Close does nothing.
func (Nobody) Close() {}

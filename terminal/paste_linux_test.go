package terminal

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/valetkey/valetkey/face"
)

const pastePrompt = "Paste that page's whole address here, to sign in to https://mcp.example.com/mcp: "

// pasting starts Paste; done tells what was taken, or "" when it ended without.
func pasting(ctx context.Context, term *Terminal) (done chan string) {
	done = make(chan string, 1)
	go func() {
		taken := ""
		term.Paste(ctx, "https://mcp.example.com/mcp", func(address string) error {
			if address != "right" {
				return errors.New("this is not it")
			}
			taken = address
			return nil
		})
		done <- taken
	}()
	return done
}

func TestPaste(t *testing.T) {
	term, out, keyboard, _ := onTerminal(t, time.Hour)
	done := pasting(t.Context(), term)
	out.shows(t, pastePrompt, 1)
	typed(t, keyboard, "wrong\n")
	out.shows(t, "That was not taken: this is not it.\n", 1)
	out.shows(t, pastePrompt, 2)
	typed(t, keyboard, "right\n")
	if got := <-done; got != "right" || !strings.HasSuffix(out.String(), "The sign-in goes on with this address.\n") {
		t.Errorf("%q\n%s", got, out)
	}
}

// A question does not wait behind a sign-in that may take minutes, and what was typed for the one is not taken for the other.
func TestQuestionsGoBeforePaste(t *testing.T) {
	term, out, keyboard, _ := onTerminal(t, time.Hour)
	done := pasting(t.Context(), term)
	out.shows(t, pastePrompt, 1)
	typed(t, keyboard, "a") // begun and not sent
	echoed(t, keyboard, "a")
	answers := []chan face.Answer{asked(term, endless(face.KindConsent)), asked(term, endless(face.KindConsent))}
	for i := range answers {
		out.shows(t, "Your answer", i+1)
		typed(t, keyboard, "d\n")
		out.shows(t, "Denied.", i+1)
	}
	for _, answer := range answers {
		if got := <-answer; !reflect.DeepEqual(got, face.Answer{Answered: true}) {
			t.Errorf("%+v, want a denial", got)
		}
	}
	out.shows(t, pastePrompt, 2)
	typed(t, keyboard, "right\n")
	if got := <-done; got != "right" {
		t.Errorf("%q\n%s", got, out)
	}
}

func TestPasteEnds(t *testing.T) {
	term, out, keyboard, _ := onTerminal(t, time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	done := pasting(ctx, term)
	out.shows(t, pastePrompt, 1)
	cancel()
	if got := <-done; got != "" || !strings.Contains(out.String(), "Nothing needs to be pasted any more.") {
		t.Errorf("%q\n%s", got, out)
	}
	term.ShowPage("https://mcp.example.com/mcp", "https://auth.example.com/", "")
	if strings.HasSuffix(out.String(), pastePrompt) {
		t.Errorf("the prompt is still there:\n%s", out)
	}

	done = pasting(t.Context(), term)
	out.shows(t, pastePrompt, 2)
	keyboard.Close()
	if got := <-done; got != "" {
		t.Errorf("%q", got)
	}
}

func TestNothingIsPastedFromAPipe(t *testing.T) {
	r, w := pipe(t)
	out := newScreen()
	w.WriteString("right\n")
	if got := <-pasting(t.Context(), New(Config{In: r, Out: out})); got != "" || out.String() != "" {
		t.Errorf("%q, %q", got, out)
	}
}

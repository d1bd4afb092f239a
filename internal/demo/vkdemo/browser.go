package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/valetkey/valetkey/internal/demo"
)

const maxTyped = 64 << 10 // bytes of answers

// browse opens a page on the terminal: it shows the text, asks how to fill in the form, and follows where that leads.
func browse(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := pflag.NewFlagSet("browser", pflag.ContinueOnError)
	yes := flags.Bool("yes", false, "answer with yes instead of asking")
	account := flags.String("account", "", "the account to sign in as; \"\" asks, or with --yes takes the page's own choice")
	if err := parse(flags, args, 1, "browser URL [flags]", stderr); err != nil {
		return helped(err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	t := &terminal{ctx: ctx, in: bufio.NewReader(io.LimitReader(os.Stdin, maxTyped)), out: stdout, yes: *yes, account: *account}
	if !*yes {
		// The app may start a browser with no input and no output of its own: the terminal is still there.
		if in, out, err := openTerminal(); err == nil {
			defer in.Close()
			defer out.Close()
			t.in, t.out = bufio.NewReader(io.LimitReader(in, maxTyped)), out
		}
	}

	transport := &http.Transport{ResponseHeaderTimeout: time.Minute, DisableKeepAlives: true}
	b := demo.Browser{Transport: transport, Answer: func(_ context.Context, page *demo.Page) (url.Values, error) {
		t.show(page)
		return t.fill(page.Form)
	}}
	page, err := b.Open(ctx, flags.Arg(0))
	if err != nil {
		return err
	}
	t.show(page)
	if page.Status >= http.StatusBadRequest {
		return fmt.Errorf("the last page was an error (HTTP %d)", page.Status)
	}
	return nil
}

// terminal is where pages are shown and questions asked.
type terminal struct {
	ctx     context.Context
	in      *bufio.Reader
	out     io.Writer
	yes     bool
	account string
}

func (t *terminal) show(page *demo.Page) {
	at := page.URL
	if u, err := url.Parse(page.URL); err == nil {
		at = u.Scheme + "://" + u.Host + u.Path // the query holds codes
	}
	fmt.Fprintf(t.out, "\n┌ %s\n│ %s\n│\n", at, page.Title)
	for _, line := range page.Lines {
		if line != page.Title {
			fmt.Fprintf(t.out, "│ %s\n", line)
		}
	}
	fmt.Fprintln(t.out, "└")
}

// fill asks for each part of a form, then which button to press.
func (t *terminal) fill(form *demo.Form) (url.Values, error) {
	values := form.Values
	texts := form.Texts
	for name, offered := range form.Choices {
		answer, err := t.choose(offered, values.Get(name), len(texts) == 1)
		if err != nil {
			return nil, err
		}
		if slices.Contains(offered, answer) {
			values.Set(name, answer)
			texts = nil // the text beside the choice is for other answers
			continue
		}
		for text := range texts {
			values.Set(text, answer)
		}
		texts = nil
	}
	for name, label := range texts {
		answer, err := t.ask(label, values.Get(name), t.account)
		if err != nil {
			return nil, err
		}
		values.Set(name, answer)
	}
	return values, t.press(form, values)
}

func (t *terminal) choose(offered []string, preset string, free bool) (string, error) {
	question := "Choose " + strings.Join(offered, " or ")
	if free {
		question += ", or type another"
	}
	for {
		answer, err := t.ask(question, preset, t.account)
		if err != nil || free || slices.Contains(offered, answer) {
			return answer, err
		}
		if t.account == answer || t.yes {
			return "", fmt.Errorf("the page does not offer %q", answer)
		}
	}
}

func (t *terminal) press(form *demo.Form, values url.Values) error {
	if len(form.Buttons) == 0 {
		return nil
	}
	var question strings.Builder
	for n, b := range form.Buttons {
		fmt.Fprintf(&question, "%d) %s  ", n+1, b.Text)
	}
	fixed := ""
	if t.yes {
		fixed = "1"
	}
	for {
		answer, err := t.ask(question.String()+"— which one", "", fixed)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(answer)
		if err == nil && n >= 1 && n <= len(form.Buttons) {
			if b := form.Buttons[n-1]; b.Name != "" {
				values.Set(b.Name, b.Value)
			}
			return nil
		}
		fmt.Fprintf(t.out, "Type a number from 1 to %d.\n", len(form.Buttons))
	}
}

// ask reads one line; an empty one means preset. With an answer fixed beforehand, or with --yes, it says what it
// answers instead of waiting.
func (t *terminal) ask(question, preset, fixed string) (string, error) {
	if fixed == "" && t.yes {
		fixed = preset
	}
	prompt := question
	if preset != "" {
		prompt += " [" + preset + "]"
	}
	fmt.Fprint(t.out, prompt+": ")
	if fixed != "" {
		fmt.Fprintf(t.out, "%s   (answered by vkdemo, as its flags say)\n", fixed)
		return fixed, nil
	}
	lines := make(chan string, 1)
	go func() {
		line, err := t.in.ReadString('\n')
		if err == nil || line != "" {
			lines <- strings.TrimSpace(line)
		}
		close(lines)
	}()
	select {
	case line, ok := <-lines:
		if !ok {
			return "", errors.New("nobody answers: there is no terminal; --yes answers with yes")
		}
		if line == "" {
			line = preset
		}
		return line, nil
	case <-t.ctx.Done():
		return "", fmt.Errorf("nobody answered: %w", context.Cause(t.ctx))
	}
}

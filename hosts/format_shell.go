package hosts

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// shellFile is a script of shell commands, one of which adds a server: mcp add NAME --command PROGRAM --args ARG…
type shellFile struct{}

func (shellFile) parse(text []byte) (*syntax.File, error) {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(bytes.NewReader(text), "")
	if err != nil {
		var at syntax.ParseError
		if errors.As(err, &at) { // its own text may quote the file, which may hold secrets
			return nil, fmt.Errorf("it is not a shell script at line %d", at.Pos.Line())
		}
		return nil, errors.New("it is not a shell script")
	}
	return file, nil
}

func (s shellFile) entries(text []byte) ([]found, error) {
	file, err := s.parse(text)
	if err != nil {
		return nil, err
	}
	var all []found
	syntax.Walk(file, func(n syntax.Node) bool {
		if call, ok := n.(*syntax.CallExpr); ok {
			if f, ok := addCall(call); ok {
				all = append(all, f)
			}
		}
		return true
	})
	return all, nil
}

// addCall reads the words of mcp add that are written out and that we know; of a header it reads nothing.
func addCall(call *syntax.CallExpr) (found, bool) {
	words := make([]string, len(call.Args))
	for i, w := range call.Args {
		words[i] = literal(w)
	}
	if len(words) < 3 || words[0] != "mcp" || words[1] != "add" {
		return found{}, false
	}
	value := map[string]any{}
	var args []any
	for rest := words[3:]; len(rest) > 1; {
		takes := 1
		switch flag := rest[0]; {
		case flag == "--command", flag == "--url":
			value[flag[2:]] = rest[1]
		case flag == "--args":
			args = append(args, rest[1])
		case flag == "--header", flag == "--env":
			takes = 2
		case !strings.HasPrefix(flag, "--"):
			takes = 0
		}
		rest = rest[min(len(rest), takes+1):]
	}
	value["args"] = args
	return found{words[2], value}, true
}

// literal is the text of a word that nothing is expanded in, else "".
func literal(w *syntax.Word) string {
	var out strings.Builder
	for _, part := range w.Parts {
		switch p := part.(type) {
		case *syntax.Lit:
			out.WriteString(strings.ReplaceAll(p.Value, `\`, ""))
		case *syntax.SglQuoted:
			out.WriteString(p.Value)
		case *syntax.DblQuoted:
			for _, inner := range p.Parts {
				lit, ok := inner.(*syntax.Lit)
				if !ok {
					return ""
				}
				out.WriteString(lit.Value)
			}
		default:
			return ""
		}
	}
	return out.String()
}

func (s shellFile) add(text []byte, name string, value fields) (insertion, error) {
	before, err := s.entries(text)
	if err != nil {
		return insertion{}, err
	}
	words := []string{"mcp", "add", name}
	for _, one := range value {
		list, ok := one.value.([]string)
		if !ok {
			list = []string{one.value.(string)}
		}
		for _, v := range list {
			quoted, err := syntax.Quote(v, syntax.LangBash)
			if err != nil {
				return insertion{}, errStrange
			}
			words = append(words, "--"+one.key, quoted)
		}
	}
	i := appended(text, []string{strings.Join(words, " ")}, false)
	after, err := s.entries(i.into(text))
	if err != nil || len(after) != len(before)+1 || after[len(before)].name != name {
		return insertion{}, errStrange
	}
	return i, nil
}

// remove cuts the lines of the command, if it stands on lines of its own.
func (s shellFile) remove(text []byte, name string, _ []byte) ([]byte, error) {
	file, err := s.parse(text)
	if err != nil {
		return nil, err
	}
	for _, stmt := range file.Stmts {
		call, ok := stmt.Cmd.(*syntax.CallExpr)
		if !ok {
			continue
		}
		if f, ok := addCall(call); !ok || f.name != name {
			continue
		}
		at := span{int(stmt.Pos().Offset()), int(stmt.End().Offset())}
		lines := wholeLines(text, at, false)
		left := string(text[lineStart(text, at.from):at.from]) + string(text[at.to:lines.to])
		if strings.TrimSpace(left) != "" {
			return nil, errStrange
		}
		return without(text, lines), nil
	}
	return nil, errNoEntry
}

package main

import (
	"context"
	"slices"
	"strings"

	"github.com/valetkey/valetkey/hosts"
	"github.com/valetkey/valetkey/localapi"
)

// server is the URL of the server that an argument means: the argument itself, or that of the one known server with the
// name. Names are made of URLs: what a server says of itself could be the name of another one.
func (p *program) server(ctx context.Context, wanted string) (string, error) {
	if strings.Contains(wanted, "://") {
		return wanted, nil
	}
	all, err := p.grants(ctx)
	if err != nil {
		return "", err
	}
	var named, names []string
	for _, g := range all.Grants {
		names = append(names, clean(shortName(g.Server)))
		if !isAmong(named, g.Server) && isNamed(g.Server, wanted) {
			named = append(named, g.Server)
		}
	}
	switch {
	case len(named) == 1:
		return named[0], nil
	case len(named) > 1:
		return "", localapi.Errorf(localapi.ErrBadRequest, "%s could be any of these servers: %s", wanted, clean(strings.Join(named, ", "))).
			WithHint("use the URL of the one you mean")
	case isAddress(wanted):
		return localapi.TypedServer(wanted), nil
	}
	none := localapi.Errorf(localapi.ErrUnknownServer, "Valet Key knows no server called %s", wanted)
	if len(names) == 0 {
		return "", none.WithHint("use its URL; to sign in to it, run: vk signin URL")
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return "", none.WithHint("%suse its URL, or one of these names: %s", didYouMean(wanted, names...), strings.Join(names, ", "))
}

// isAmong reports whether servers has one that is the same as server: it may be there with several accounts.
func isAmong(servers []string, server string) bool {
	return slices.ContainsFunc(servers, func(s string) bool { return localapi.SameServer(s, server) })
}

// isAddress tells a URL, also one without https://, from a name.
func isAddress(typed string) bool { return strings.ContainsAny(typed, "./:") }

// address is the URL that a person typed where only a URL will do.
func address(typed string) string {
	if isAddress(typed) {
		return localapi.TypedServer(typed)
	}
	return typed
}

// isNamed reports whether a person may mean server by name: its short name, or its URL without the scheme, or without
// the path too.
func isNamed(server, name string) bool {
	return slices.ContainsFunc(namesOf(server), func(s string) bool { return s != "" && strings.EqualFold(s, name) })
}

func namesOf(server string) []string {
	_, rest, _ := strings.Cut(server, "://")
	host, _, _ := strings.Cut(rest, "/")
	return []string{hosts.ShortName(server), host, strings.TrimSuffix(rest, "/")}
}

// shortName is what vk list calls a server.
func shortName(server string) string { return orDash(hosts.ShortName(server)) }

// didYouMean asks whether a mistyped word was meant to be one of those that are known: "did you mean token? ", or nothing
// where none is near.
func didYouMean(typed string, known ...string) string {
	near, least := "", min(1+len(typed)/4, 3) // letters that may be wrong
	for _, k := range known {
		a, b := strings.ToLower(typed), strings.ToLower(k)
		far := distance(a, b)
		if len(a) > 1 && strings.HasPrefix(b, a) {
			far = 0
		}
		if far < len(a) && (far < least || far == least && near == "") {
			near, least = k, far
		}
	}
	if near == "" {
		return ""
	}
	return "did you mean " + near + "? "
}

// distance counts the letters to put in, take out, change or swap with their neighbour to make b of a.
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	before, last, row := rows[0], rows[1], rows[2]
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range len(b) {
			change := 1
			if a[i] == b[j] {
				change = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+change)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}

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
		again := slices.ContainsFunc(named, func(s string) bool { return localapi.SameServer(s, g.Server) }) // with another account
		if !again && isNamed(g.Server, wanted) {
			named = append(named, g.Server)
		}
	}
	switch len(named) {
	case 1:
		return named[0], nil
	case 0:
		none := localapi.Errorf(localapi.ErrUnknownServer, "Valet Key knows no server called %s", wanted)
		if len(names) == 0 {
			return "", none.WithHint("give its URL; to sign in to one, run: vk signin URL")
		}
		slices.Sort(names)
		return "", none.WithHint("give its URL, or one of these names: %s", strings.Join(slices.Compact(names), ", "))
	}
	return "", localapi.Errorf(localapi.ErrBadRequest, "%s may be any of these servers: %s", wanted, clean(strings.Join(named, ", "))).
		WithHint("give the URL of the one you mean")
}

// isNamed reports whether a person may mean server by name: its short name, or its URL without the scheme, or without
// the path too.
func isNamed(server, name string) bool {
	_, rest, _ := strings.Cut(server, "://")
	host, _, _ := strings.Cut(rest, "/")
	return slices.ContainsFunc([]string{hosts.ShortName(server), host, strings.TrimSuffix(rest, "/")}, func(s string) bool {
		return s != "" && strings.EqualFold(s, name)
	})
}

// shortName is what vk list calls a server.
func shortName(server string) string { return orDash(hosts.ShortName(server)) }

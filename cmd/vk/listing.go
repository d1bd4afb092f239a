package main

import (
	"fmt"

	"github.com/valetkey/valetkey/hosts"
)

// listing is what --json prints of hosts and the servers each has.
type listing struct {
	Hosts []listed `json:"hosts"`
}

type listed struct {
	Host    string         `json:"host"` // its key
	Name    string         `json:"host_name"`
	File    string         `json:"file"`
	Error   string         `json:"error,omitempty"` // why the file cannot be read
	Servers []listedServer `json:"servers"`
}

type listedServer struct {
	Name      string        `json:"name"` // in the host
	Server    string        `json:"server"`
	Via       hosts.Channel `json:"via,omitempty"`        // how it goes through Valet Key; "": it does not
	CarriedBy string        `json:"carried_by,omitempty"` // without Valet Key: the program that carries it
	AddAs     string        `json:"add_as,omitempty"`     // of vk import: the name that it would have through Valet Key
	Problem   string        `json:"problem,omitempty"`    // of vk import: why it cannot be added
}

// lookAt reads what a host has. A file that cannot be read has nothing.
func lookAt(h *hosts.Host, env hosts.Env) (listed, *hosts.Content) {
	l := listed{Host: h.Key, Name: h.Name, File: h.File(env), Servers: []listedServer{}}
	content, err := h.Read(env)
	if err != nil {
		l.Error = hosts.Cause(err).Error()
		return l, &hosts.Content{}
	}
	return l, content
}

func remoteServer(r hosts.Remote) listedServer {
	return listedServer{Name: r.Name, Server: r.Server, CarriedBy: r.Bridge}
}

// text is what a person reads of a host and its servers.
func (l listed) text() string {
	head := fmt.Sprintf("%s (%s)\n  %s\n", l.Name, l.Host, clean(l.File))
	if l.Error != "" {
		return head + "    cannot be read: " + clean(l.Error) + "\n"
	}
	var rows [][]string
	for _, s := range l.Servers {
		rows = append(rows, []string{clean(s.Name), clean(s.Server), s.way()})
	}
	if rows == nil {
		rows = [][]string{{"no remote servers"}}
	}
	return head + table("    ", rows)
}

// way says how the host reaches the server.
func (s listedServer) way() string {
	switch {
	case s.Via != "":
		return "through Valet Key, via " + string(s.Via)
	case s.CarriedBy != "":
		return "without Valet Key, via " + clean(s.CarriedBy)
	}
	return "without Valet Key"
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// host is an MCP host with one server in its configuration: vk bridge URL.
type host struct {
	*valet
	assignment
	before bool // it speaks nothing of 2026-07-28
}

// scenes is what the host does in the scenarios that want something particular of it. In all others it lists the tools
// and calls the first one.
var scenes = map[string]func(*host, context.Context) error{
	"initialize":                       (*host).list,
	"tools_call":                       (*host).add,
	"request-metadata":                 (*host).list,
	"sep-2322-client-request-state":    (*host).answerQuestions,
	"http-standard-headers":            (*host).useEverything,
	"http-custom-headers":              (*host).callAsTold,
	"http-invalid-tool-headers":        (*host).callAll,
	"json-schema-ref-no-deref":         (*host).list,
	"json-schema-2020-12-preservation": (*host).echoSchema,
}

const revisionBefore = "2025-11-25"

// with runs do in a session with the server. A host that offers everything has most to be passed on.
func (h *host) with(ctx context.Context, do func(*mcp.ClientSession) error) error {
	client := mcp.NewClient(&mcp.Implementation{Name: "conformance-host", Title: "Conformance host", Version: "1.0.0"}, &mcp.ClientOptions{
		ElicitationHandler: func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{}}, nil // the SDK fills in the defaults
		},
		//lint:ignore SA1019 deprecated by 2026-07-28, and in its conformance suite
		CreateMessageHandler: func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
			//lint:ignore SA1019 as above
			return &mcp.CreateMessageResult{Model: "none", Role: "assistant", Content: &mcp.TextContent{Text: "Nothing."}}, nil
		},
	})
	cmd := h.command("vk", "bridge", h.url)
	cmd.Stderr = os.Stderr
	opts := &mcp.ClientSessionOptions{}
	if h.before {
		opts.ProtocolVersion = revisionBefore
	}
	session, err := client.Connect(ctx, &mcp.CommandTransport{Command: cmd}, opts)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	err = do(session)
	if closing := session.Close(); closing != nil {
		err = errors.Join(err, fmt.Errorf("end vk bridge: %w", closing))
	}
	return err
}

func (h *host) list(ctx context.Context) error {
	return h.with(ctx, func(s *mcp.ClientSession) error {
		if _, err := s.ListTools(ctx, nil); err != nil { // there may be none
			return fmt.Errorf("tools/list: %w", err)
		}
		return nil
	})
}

func (h *host) listAndCall(ctx context.Context) error {
	return h.with(ctx, func(s *mcp.ClientSession) error {
		all, err := tools(ctx, s)
		if err != nil {
			return err
		}
		return call(ctx, s, all[0].Name, nil)
	})
}

func (h *host) add(ctx context.Context) error {
	return h.with(ctx, func(s *mcp.ClientSession) error {
		if _, err := tools(ctx, s); err != nil {
			return err
		}
		return call(ctx, s, "add_numbers", map[string]any{"a": 5, "b": 3})
	})
}

// callAll calls every tool that is left. Some are annotated so that they must not be.
func (h *host) callAll(ctx context.Context) error {
	return h.with(ctx, func(s *mcp.ClientSession) error {
		all, err := tools(ctx, s)
		for _, t := range all {
			err = errors.Join(err, call(ctx, s, t.Name, map[string]any{"region": "us-west1"}))
		}
		return err
	})
}

func (h *host) callAsTold(ctx context.Context) error {
	return h.with(ctx, func(s *mcp.ClientSession) error {
		_, err := tools(ctx, s)
		if len(h.context.ToolCalls) == 0 {
			err = errors.Join(err, errors.New("the suite gave no calls"))
		}
		for _, c := range h.context.ToolCalls {
			err = errors.Join(err, call(ctx, s, c.Name, c.Arguments))
		}
		return err
	})
}

// answerQuestions calls tools that answer with questions (SEP-2322).
func (h *host) answerQuestions(ctx context.Context) error {
	return h.with(ctx, func(s *mcp.ClientSession) error {
		var err error
		for _, name := range []string{"test_mrtr_echo_state", "test_mrtr_no_state", "test_mrtr_unrelated", "test_mrtr_no_result_type"} {
			err = errors.Join(err, call(ctx, s, name, nil))
		}
		return err
	})
}

// useEverything makes one request of each kind.
func (h *host) useEverything(ctx context.Context) error {
	return h.with(ctx, func(s *mcp.ClientSession) error {
		all, err := tools(ctx, s)
		if err != nil {
			return err
		}
		err = call(ctx, s, all[0].Name, nil)
		resources, failed := s.ListResources(ctx, nil)
		if failed == nil {
			_, failed = s.ReadResource(ctx, &mcp.ReadResourceParams{URI: resources.Resources[0].URI})
		}
		err = errors.Join(err, failed)
		prompts, failed := s.ListPrompts(ctx, nil)
		if failed == nil {
			_, failed = s.GetPrompt(ctx, &mcp.GetPromptParams{Name: prompts.Prompts[0].Name})
		}
		return errors.Join(err, failed)
	})
}

// echoSchema gives the server back the schema that arrived here.
func (h *host) echoSchema(ctx context.Context) error {
	return h.with(ctx, func(s *mcp.ClientSession) error {
		all, err := tools(ctx, s)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(t *mcp.Tool) bool { return t.Name == "json_schema_2020_12_tool" })
		if i < 0 {
			return errors.New("the tool with the schema is not listed")
		}
		return call(ctx, s, "json_schema_echo", map[string]any{"schema": all[i].InputSchema})
	})
}

func tools(ctx context.Context, s *mcp.ClientSession) ([]*mcp.Tool, error) {
	list, err := s.ListTools(ctx, nil)
	switch {
	case err != nil:
		return nil, fmt.Errorf("tools/list: %w", err)
	case len(list.Tools) == 0:
		return nil, errors.New("tools/list: there are none")
	}
	return list.Tools, nil
}

func call(ctx context.Context, s *mcp.ClientSession, name string, arguments map[string]any) error {
	if arguments == nil {
		arguments = map[string]any{}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := s.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: arguments}); err != nil {
		return fmt.Errorf("tools/call %s: %w", name, err)
	}
	return nil
}

package main

import (
	"go/ast"
	"go/types"
	"path"
	"slices"
	"strings"
	"testing"
)

// exported are names that stay exported though no other package names them: the errors of the API are one set, and the
// standard library calls the methods.
var exported = []string{"ErrVersion", "Error", "Is", "Unwrap", "String", "GoString", "Format", "LogValue", "MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText", "ServeHTTP"}

// TestExportedNames: what no other package names is not exported. It goes by names alone, so that it sees every system and
// tag at once. JSON fills fields with tags, a type may be what something else that is exported carries, and mcpauth is for
// hosts of others.
func TestExportedNames(t *testing.T) {
	set, files := goFiles(t)
	named := map[string][]string{}      // by which packages
	carried := map[string]int{}         // how often by what its package exports, itself included
	declared := map[*ast.Ident]string{} // in which package
	for file, parsed := range files {
		dir := path.Dir(file)
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				named[n.Sel.Name] = append(named[n.Sel.Name], dir)
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok {
					named[key.Name] = append(named[key.Name], dir)
				}
			}
			return true
		})
		if strings.HasSuffix(file, "_test.go") || parsed.Name.Name == "main" || dir == "localapi/mcpauth" || !ast.FileExports(parsed) {
			continue
		}
		declare := func(names ...*ast.Ident) {
			for _, id := range names {
				if id.IsExported() {
					declared[id] = dir
				}
			}
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BlockStmt:
				return false
			case *ast.FuncDecl:
				if n.Recv == nil || ast.IsExported(strings.TrimPrefix(types.ExprString(n.Recv.List[0].Type), "*")) {
					declare(n.Name)
				}
			case *ast.TypeSpec:
				declare(n.Name)
			case *ast.ValueSpec:
				declare(n.Names...)
			case *ast.StructType:
				for _, field := range n.Fields.List {
					if field.Tag == nil {
						declare(field.Names...)
					}
				}
			case *ast.Ident:
				carried[dir+"."+n.Name]++
			}
			return true
		})
	}
	for at, dir := range declared {
		elsewhere := func(by string) bool { return by != dir }
		if !slices.ContainsFunc(named[at.Name], elsewhere) && carried[dir+"."+at.Name] < 2 && !slices.Contains(exported, at.Name) {
			t.Errorf("%s: %s is exported, and no other package names it", set.Position(at.Pos()), at.Name)
		}
	}
}

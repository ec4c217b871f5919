from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse_lazy
from django.views.generic import CreateView, DeleteView, DetailView, ListView, UpdateView

from shop.forms import ProductForm
from shop.models import Product


class ProductList(ListView):
    model = Product
    paginate_by = 60


class ProductDetail(DetailView):
    queryset = Product.objects.prefetch_related("pictures")


class SavesAll:
    """Saves a product with its pictures."""

    def form_valid(self, form: Any) -> HttpResponse:
        try:
            product = form.save_all()
        except ValidationError as error:
            form.add_error("more", error.messages)
            return self.form_invalid(form)
        return redirect("product", pk=product.pk)


class ProductCreate(SavesAll, CreateView):
    model = Product
    form_class = ProductForm


class ProductUpdate(SavesAll, UpdateView):
    model = Product
    form_class = ProductForm


class ProductDelete(DeleteView):
    model = Product
    success_url = reverse_lazy("products")

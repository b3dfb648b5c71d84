"""The tables as they were at first. Made by Django's `makemigrations`."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('people', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Attachment',
            fields=[
                ('file_id', models.CharField(max_length=512, primary_key=True, serialize=False)),
                ('rule', models.CharField(choices=[('account', 'every user of the account'), ('restricted', 'those on the list'), ('form', "users, and visitors of the account's public forms"), ('embed', "users, and visitors of the account's embedded forms")], max_length=10)),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='people.account')),
                ('users', models.ManyToManyField(to=settings.AUTH_USER_MODEL)),
            ],
        ),
    ]
